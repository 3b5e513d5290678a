"""What samplers give and scorers read: a prompt with its K responses."""

import json
from dataclasses import dataclass
from typing import Any

from truing.data import Message
from truing.data.rows import Speech, text_of


@dataclass(frozen=True)
class Said:
    """One response as text.

    Args:
        text: without the end token.
        num_tokens: end token included; None where nobody counted.
        finished: whether the end token came before the limit.
        score: what an earlier judge gave it; None where none did.
    """

    text: str
    num_tokens: int | None = None
    finished: bool = True
    score: float | None = None


@dataclass(frozen=True)
class Asked:
    """One prompt: a text, or the turns of a conversation.

    Args:
        speech: what is said to the model.
        tools: descriptions of tools for the chat template, as one JSON list; "" for none.
    """

    speech: Speech
    tools: str = ""

    @property
    def text(self) -> str:
        """The words, turns one below the other."""
        return text_of(self.speech)

    @property
    def is_conversation(self) -> bool:
        """Turns, not plain text."""
        return not isinstance(self.speech, str)

    def stored(self) -> str:
        """One string for a table: the text, or the turns as JSON."""
        if isinstance(self.speech, str):
            return self.speech
        return json.dumps([turn.to_dict() for turn in self.speech], ensure_ascii=False)

    @classmethod
    def of_stored(cls, text: str, *, is_conversation: bool, tools: str) -> "Asked":
        """The inverse of `stored`."""
        if not is_conversation:
            return cls(text, tools)
        return cls(tuple(_turn(turn) for turn in json.loads(text)), tools)


def _turn(turn: dict[str, Any]) -> Message:
    more = {key: value for key, value in turn.items() if key not in {"role", "content"}}
    kept = json.dumps(more, sort_keys=True, ensure_ascii=False) if more else ""
    return Message(turn["role"], turn["content"], kept)


@dataclass(frozen=True)
class Group:
    """A prompt and the responses that compete: K of them."""

    prompt: Asked
    responses: tuple[Said, ...]
