"""The row: one prompt, its responses, and what is said about them, before any tokenizer."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from truing.data.where import Where

Kind = Literal["pair", "kwise", "unpaired"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    Args:
        role: system, developer, user, assistant or tool.
        content: its text; "" where an assistant only calls tools.
        more: what else the turn holds (tool calls, names ...), as one JSON object; "" for nothing.
    """

    role: str
    content: str
    more: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The turn as chat templates read it."""
        rest: dict[str, Any] = json.loads(self.more) if self.more else {}
        return {"role": self.role, "content": self.content, **rest}


Speech: TypeAlias = str | tuple[Message, ...]
"""Plain text, or turns of a conversation."""


@dataclass(frozen=True)
class Row:
    """One prompt with K >= 1 responses.

    Args:
        prompt: text, or the turns before the response.
        responses: of a pair (chosen, rejected).
        kind: "pair", "kwise" or "unpaired".
        where: file and row.
        scores: a judge's number for each response.
        label: of an unpaired row: desirable or not; None where the data says nothing.
        win_probability: for each response, in [0, 1].
        tools: descriptions of tools for the chat template, as one JSON list; "" for none.
        occurrence: how many rows of the same content were read before this one.
    """

    prompt: Speech
    responses: tuple[Speech, ...]
    kind: Kind
    where: Where
    scores: tuple[float, ...] | None = None
    label: bool | None = None
    win_probability: tuple[float, ...] | None = None
    tools: str = ""
    occurrence: int = 0

    @property
    def is_conversational(self) -> bool:
        """Turns, not plain text."""
        return not isinstance(self.prompt, str)

    @cached_property
    def id(self) -> int:
        """Signed 64-bit hash of prompt, responses and kind; not of scores, not of the place."""
        digest = hashlib.blake2b(self.kind.encode(), digest_size=8)
        for speech in (self.prompt, *self.responses):
            digest.update(b"\x00" + _bytes(speech))
        digest.update(self.tools.encode())
        return int.from_bytes(digest.digest(), "little", signed=True)

    @property
    def row_id(self) -> int:
        """`id` with the occurrence number mixed in: what randomness and stores go by."""
        words = self.id.to_bytes(8, "little", signed=True) + self.occurrence.to_bytes(8, "little")
        return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "little", signed=True)


def _bytes(speech: Speech) -> bytes:
    if isinstance(speech, str):
        return b"t%d:" % len(speech) + speech.encode()
    turns = [(turn.role, turn.content, turn.more) for turn in speech]
    return b"c" + json.dumps(turns).encode()


def text_of(speech: Speech) -> str:
    """The words of a speech, turns one below the other; for counting, comparing and showing."""
    return speech if isinstance(speech, str) else "\n".join(turn.content for turn in speech)


def speech_id(speech: Speech) -> int:
    """Signed 64-bit hash of a speech, the same for equal ones."""
    digest = hashlib.blake2b(_bytes(speech), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def said(response: Speech) -> str:
    """The assistant's own words in a response, which may hold turns of others."""
    if isinstance(response, str):
        return response
    return text_of(tuple(turn for turn in response if turn.role == "assistant"))


def is_empty(response: Speech) -> bool:
    """The assistant says nothing but white space, and calls no tool."""
    if isinstance(response, str):
        return not response.strip()
    turns = [turn for turn in response if turn.role == "assistant"]
    return all(not turn.content.strip() and not turn.more for turn in turns)


def canonical(value: Mapping[str, Any] | list[Any]) -> str:
    """One JSON text for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def spoken(row: Row) -> list[str]:
    """Every text of a row, one a speech or a turn."""
    texts: list[str] = []
    for speech in (row.prompt, *row.responses):
        texts += [speech] if isinstance(speech, str) else [turn.content for turn in speech]
    return texts


def odd_turn(row: Row) -> str:
    """The first turn of a prompt that is out of the usual order, in words; "" where none is.

    Usual is: a system turn or none, then user and assistant by turns; tools may come between.
    """
    if isinstance(row.prompt, str):
        return ""
    before = "assistant"
    for number, turn in enumerate(row.prompt, start=1):
        if turn.role in {"user", "assistant"}:
            if turn.role == before:
                return f"turn {number} of the prompt is the {turn.role}'s"
            before = turn.role
        elif turn.role == "tool":
            before = "user"
    return ""
