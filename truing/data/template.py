"""The whole text of a prompt with each of its responses, plain or through the chat template."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from truing.data.implicit import shared_start
from truing.data.rows import Message, Row, Speech
from truing.data.turns import LossTurns, Span, TurnFinder, marked_spans, marks_generation
from truing.data.where import CellError
from truing.errors import ModelError

# What a chat template raises for turns that it does not like.
_TEMPLATE_FAULTS = (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError)


@dataclass(frozen=True)
class Rendered:
    """A row as texts, ready to be tokenised.

    Args:
        prompt: the prompt alone, with the template's opening of the assistant's turn.
        wholes: prompt and response, one text a response, up to the token that ends the turn.
        ends: whether that token is already in the text.
        learned: the characters of each whole that carry loss; () for the whole response.
    """

    prompt: str
    wholes: tuple[str, ...]
    ends: tuple[bool, ...]
    learned: tuple[tuple[Span, ...], ...]


class Renderer:
    """Writes rows as one tokenizer's model reads them.

    Plain text is joined as it is: no space is put in or taken away, no template is used.

    Args:
        tokenizer: of transformers.
        loss_turns: which turns of the assistant are learned, where a response has several.

    Raises:
        ModelError: the tokenizer has no end token.
    """

    def __init__(self, tokenizer: Any, loss_turns: LossTurns = "all") -> None:
        self._tokenizer = tokenizer
        self._loss_turns: LossTurns = loss_turns
        if tokenizer.eos_token_id is None:
            raise ModelError(
                "the tokenizer has no end token",
                where=str(tokenizer.name_or_path),
                fix="set eos_token in tokenizer_config.json",
            )
        added = [str(t) for t in tokenizer.added_tokens_decoder.values() if t.special]
        self.special_texts = tuple(dict.fromkeys([*tokenizer.all_special_tokens, *added]))
        """Texts that the tokenizer reads as control tokens wherever they stand."""
        self._first_characters = {text[0] for text in self.special_texts if text}

    @property
    def writes_tools(self) -> bool:
        """Whether the chat template has a place for descriptions of tools."""
        return "tool" in str(self._tokenizer.chat_template)

    def spells_control(self, texts: Iterable[str]) -> bool:
        """Whether one of the texts holds a control text, which is read as that token."""
        # Most texts do not even hold the character that all of them begin with.
        return any(
            any(first in text for first in self._first_characters)
            and any(special in text for special in self.special_texts)
            for text in texts
        )

    def render(self, row: Row) -> Rendered:
        """The texts of a row.

        Raises:
            CellError: the template refuses the turns, or changes text before the last question.
            ModelError: the row is conversational and the tokenizer has no chat template.
        """
        if isinstance(row.prompt, str):
            prompt = row.prompt
            wholes = tuple(prompt + _plain(response) for response in row.responses)
            end = str(self._tokenizer.eos_token)
            ends = tuple(whole.endswith(end) for whole in wholes)
            return Rendered(prompt, wholes, ends, ((),) * len(wholes))
        turns, tools = row.prompt, row.tools
        opened = self._chat(turns, tools, opens=True)
        ended = [
            self._until_end(self._chat((*turns, *_turns(response)), tools, opens=False))
            for response in row.responses
        ]
        if not all(whole.startswith(opened) for whole, _ in ended):
            self._check_history(row, turns, [whole for whole, _ in ended])
        learned = tuple(
            self._learned(row, _turns(response), whole)
            for response, (whole, _) in zip(row.responses, ended, strict=True)
        )
        wholes, ends = zip(*ended, strict=True)
        return Rendered(opened, wholes, ends, learned)

    def _learned(self, row: Row, response: tuple[Message, ...], whole: str) -> tuple[Span, ...]:
        """What the assistant says in a response of several turns; () for one turn."""
        if len(response) == 1:
            return ()
        prompt = _turns(row.prompt)

        def write(turns: Sequence[Message], *, opens: bool) -> str:
            return self._chat(turns, row.tools, opens=opens)

        if not marks_generation(self._tokenizer.chat_template):
            finder = TurnFinder(write, self._until_end, self.special_texts)
            return finder.spans(prompt, response, whole, self._loss_turns)
        before = (*prompt, *response[:-1]) if self._loss_turns == "last" else prompt
        start = shared_start(write(before, opens=True), whole)
        marks = self._marks((*prompt, *response), row.tools)
        return marked_spans(marks, whole, start, self.special_texts)

    def _marks(self, turns: Sequence[Message], tools: str) -> list[Span]:
        """What the template itself says that the assistant generates."""
        import json

        from transformers.utils.chat_template_utils import render_jinja_template

        _, marks = render_jinja_template(
            [[turn.to_dict() for turn in turns]],
            tools=json.loads(tools) if tools else None,
            chat_template=self._tokenizer.chat_template,
            return_assistant_tokens_mask=True,
            **self._tokenizer.special_tokens_map,
        )
        return [(int(first), int(last)) for first, last in marks[0]]

    def _chat(self, turns: Sequence[Message], tools: str, *, opens: bool) -> str:
        if not self._tokenizer.chat_template:
            raise ModelError(
                "the rows are conversations, and the tokenizer has no chat template",
                where=str(self._tokenizer.name_or_path),
                fix="give `tokenizer=` one with a chat template, or rows of plain text",
            )
        import json

        try:
            return self._tokenizer.apply_chat_template(
                [turn.to_dict() for turn in turns],
                tools=json.loads(tools) if tools else None,
                tokenize=False,
                add_generation_prompt=opens,
            )
        except _TEMPLATE_FAULTS as error:
            raise CellError(
                f"the chat template refuses the turns {_roles(turns)}: {error}",
                fix="mend the order of the turns, or use a tokenizer whose template takes them",
            ) from error

    def _until_end(self, text: str) -> tuple[str, bool]:
        """The text up to the control token that ends the last turn, and whether there is one.

        Templates end a turn with a control token, some put white space behind it; the model stops
        at the token, so what follows is never sampled and is not learned.
        """
        stripped = text.rstrip()
        ends = stripped.endswith(self.special_texts)
        return (stripped, True) if ends else (text, False)

    def _check_history(self, row: Row, turns: Sequence[Message], wholes: Sequence[str]) -> None:
        """Text before the last question must be the same with and without a response."""
        alone = self._chat(turns, row.tools, opens=False)
        asked = alone.rfind(turns[-1].content.strip())
        for whole in wholes:
            if whole[:asked] != alone[:asked]:
                border = shared_start(alone, whole)
                raise CellError(
                    "the chat template changes text before the last question when a response "
                    f"follows: {alone[border : border + 40]!r} becomes "
                    f"{whole[border : border + 40]!r}",
                    fix="use a template that writes earlier turns the same way in both cases",
                )


def drops_tools(row: Row, renderer: Renderer | None) -> bool:
    """Whether the row describes tools that its text will not show.

    Plain text goes through no template; without a renderer the template is not known.
    """
    if not row.tools or not row.is_conversational:
        return bool(row.tools)
    return renderer is not None and not renderer.writes_tools


def _plain(speech: Speech) -> str:
    assert isinstance(speech, str), "a row is of one kind"
    return speech


def _turns(speech: Speech) -> tuple[Message, ...]:
    assert not isinstance(speech, str), "a row is of one kind"
    return speech


def _roles(turns: Sequence[Message]) -> str:
    names = [turn.role for turn in turns]
    return ", ".join(names if len(names) <= 6 else [*names[:3], "...", *names[-2:]])
