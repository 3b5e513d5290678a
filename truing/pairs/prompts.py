"""What is asked: prompts out of files, or the embedded world's own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from truing.core.called import Called
from truing.core.knobs import Count
from truing.core.language import parse
from truing.data.cells import Cells
from truing.data.files import Record
from truing.data.sources import open_sources
from truing.data.where import CellError, Fault, refusal
from truing.errors import KnobError, RowError
from truing.responses.groups import Asked
from truing.world import prompts as world_prompts

_ASKING = ("user", "tool")


@dataclass(frozen=True)
class Prompts:
    """Distinct prompts in order.

    Args:
        asked: one each.
        num_repeated: how many were left out because they had been there before.
    """

    asked: tuple[Asked, ...]
    num_repeated: int = 0

    @property
    def key(self) -> str:
        """A hash of all of them, in order."""
        return prompts_key(self.asked)

    def first(self, rows: int | None) -> "Prompts":
        """The first so many; None: all."""
        return self if rows is None else Prompts(self.asked[:rows], self.num_repeated)


def prompts_key(asked: Sequence[Asked]) -> str:
    """Sixteen hexadecimal digits of some prompts, in order."""
    digest = sha256()
    for one in asked:
        for text in (one.stored(), one.tools, str(one.is_conversation)):
            digest.update(f"{len(text)}:{text}".encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, repr=False)
class WorldPrompts(Called):
    """Prompts of the embedded world.

    Args:
        split: those to train on, or those to test on.
        rows: the first so many, after
        skip: so many that are left out.
    """

    word: ClassVar[str] = "world"
    split: Literal["train", "test"] = "train"
    rows: Count | None = None
    skip: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.skip < 0:
            raise KnobError("skip is below 0", where=repr(self), fix="give 0 or more")

    def read(self) -> Prompts:
        """All of them."""
        end = None if self.rows is None else self.skip + self.rows
        asked = tuple(Asked(one.text) for one in world_prompts(self.split)[self.skip : end])
        return distinct(dict.fromkeys(asked), len(asked), repr(self))


_SOURCES: Mapping[str, Callable[..., Any]] = MappingProxyType({"world": WorldPrompts})


def read_prompts(source: str) -> Prompts:
    """Prompts of a file, folder or data-set name, or of an expression such as `world(rows=500)`.

    A row has a column `prompt` (text, or turns that end with the user's) and may have `tools`;
    other columns are not looked at.

    Raises:
        RowError: a row without a prompt; no row at all.
        KnobError: a wrong knob of the expression.
    """
    if source.strip().startswith(tuple(f"{name}(" for name in _SOURCES)):
        found: WorldPrompts = parse(source, _SOURCES, {})
        return found.read()
    seen: dict[Asked, None] = {}
    faults: list[Fault] = []
    number = 0
    for file, _ in open_sources(source):
        for item in file.read():
            number += 1
            one = _asked(item, is_text_only=file.is_text_only)
            if isinstance(one, Fault):
                faults.append(one)
            else:
                seen.setdefault(one)
    if faults:
        raise refusal(faults)
    return distinct(seen, number, source)


def distinct(seen: Mapping[Asked, Any], number: int, source: str) -> Prompts:
    """The prompts of `number` rows, each once.

    Raises:
        RowError: there is none.
    """
    if not seen:
        raise RowError("there are no prompts", where=source, fix="give a file with rows")
    return Prompts(tuple(seen), number - len(seen))


def _asked(item: Record | Fault, *, is_text_only: bool) -> Asked | Fault:
    if isinstance(item, Fault):
        return item
    try:
        if not isinstance(item.value, Mapping):
            raise CellError("is no object with columns", fix='write {"prompt": "..."} in each row')
        cells = Cells(item.value, {}, is_text_only=is_text_only)
        speech = cells.speech("prompt")
        if not isinstance(speech, str) and speech[-1].role not in _ASKING:
            raise CellError(
                f"ends with the {speech[-1].role}'s turn",
                column="prompt",
                fix="end the prompt with a user's turn; the response follows it",
            )
        if not isinstance(speech, str) and any(turn.more for turn in speech):
            raise CellError(
                "has a turn with more than role and content, which pairs cannot carry",
                column="prompt",
                fix="write what a tool was asked and said as text",
            )
        tools = item.value.get("tools")
        return Asked(speech, tools if isinstance(tools, str) else "")
    except CellError as bad:
        return bad.at(item.where, item.raw)
