"""Which part of a response of several turns is the assistant's, and is learned.

A response may hold turns of others (the user's, a tool's) between the assistant's own. Their words
and the marks around them are context: the model reads them and is not asked to say them.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from truing.data.implicit import shared_start
from truing.data.rows import Message
from truing.data.where import CellError

LossTurns = Literal["all", "last"]
"""Which turns of the assistant in a response carry loss: all of them, or its last alone."""
LOSS_TURNS: tuple[LossTurns, ...] = ("all", "last")

Mask = NDArray[np.bool_]
Span = tuple[int, int]
"""First character, and the character after the last one."""
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


class Write(Protocol):
    """A chat template."""

    def __call__(self, turns: Sequence[Message], *, opens: bool) -> str:
        """These turns; `opens`: with the opening of the assistant's next turn behind them."""
        ...


def marks_generation(template: Any) -> bool:
    """Whether a chat template itself says what the assistant generates (`{% generation %}`)."""
    return isinstance(template, str) and _GENERATION.search(template) is not None


class TurnFinder:
    """Finds the assistant's turns of one response in the text that a template makes of it.

    A turn begins where the template, given all turns before it, stops when it opens the
    assistant's turn, and ends with the template's text of the turns up to it. Where a template
    writes earlier turns otherwise once others follow (it drops their thoughts, say), the turn is
    looked for behind the one before it, by its opening and by the token that ends it.

    Args:
        write: the template.
        until_end: a text up to the control token that ends its last turn.
        ends: the control texts of the tokenizer.
    """

    def __init__(
        self, write: Write, until_end: Callable[[str], tuple[str, bool]], ends: tuple[str, ...]
    ) -> None:
        self._write, self._until_end, self._ends = write, until_end, ends

    def spans(
        self, prompt: Sequence[Message], response: Sequence[Message], whole: str, turns: LossTurns
    ) -> tuple[Span, ...]:
        """Characters of `whole` that carry loss, one span a turn.

        The first turn of a response begins with the response itself, so its span begins at 0.

        Raises:
            CellError: the template writes a turn in a way that cannot be found again.
        """
        final = len(response) - 1
        wanted = [i for i, turn in enumerate(response) if turn.role == "assistant"]
        found: list[Span] = []
        after = 0
        for number in wanted if turns == "all" else [final]:
            before, turn = (*prompt, *response[:number]), response[number]
            start = self._start(before, whole, after, number)
            after = len(whole) if number == final else self._end(before, turn, whole, start, number)
            found.append((start if number else 0, after))
        return tuple(found)

    def _start(self, before: Sequence[Message], whole: str, after: int, number: int) -> int:
        opened, alone = self._write(before, opens=True), self._write(before, opens=False)
        shared = shared_start(opened, whole)
        if shared >= max(after, min(len(alone), len(opened))):
            return shared
        opening = opened[shared_start(opened, alone) :]
        place = whole.find(opening, after) if opening else -1
        if place < 0:
            raise _lost(number)
        return place + len(opening)

    def _end(
        self, before: Sequence[Message], turn: Message, whole: str, start: int, number: int
    ) -> int:
        ended, has_end = self._until_end(self._write((*before, turn), opens=False))
        if len(ended) > start and whole.startswith(ended):
            return len(ended)
        if not has_end:
            raise _lost(number)
        end = max((text for text in self._ends if ended.endswith(text)), key=len)
        place = start
        for _ in range(turn.content.count(end) + 1):
            place = whole.find(end, place) + len(end)
            if place < start + len(end):
                raise _lost(number)
        last_line = turn.content.strip().rpartition("\n")[2].strip()
        if last_line not in whole[start:place]:
            raise _lost(number)
        return place


def _lost(number: int) -> CellError:
    return CellError(
        f"the chat template writes turn {number + 1} of the response otherwise when other turns "
        "follow it, so where it begins and ends cannot be told",
        fix="use a template that marks what is learned ({% generation %}), or loss_turns: last",
    )


def marked_spans(
    marks: Sequence[Span], whole: str, start: int, ends: tuple[str, ...]
) -> tuple[Span, ...]:
    """The spans that a template marks behind `start`, each with the token that ends its turn.

    Raises:
        CellError: the template marks nothing there.
    """
    found: list[Span] = []
    for first, last in marks:
        if last <= start:
            continue
        end = next((text for text in ends if whole.startswith(text, last)), "")
        found.append((max(first, start), min(last + len(end), len(whole))))
    if not found:
        raise CellError(
            "the chat template marks nothing of the response as generated",
            fix="put {% generation %} around every turn of the assistant in the template",
        )
    return tuple(found)


def mask_of(size: int, spans: Sequence[Span]) -> Mask:
    """True on the tokens of these spans, (size,)."""
    mask = np.zeros(size, dtype=np.bool_)
    for start, end in spans:
        mask[max(start, 0) : max(end, 0)] = True
    return mask
