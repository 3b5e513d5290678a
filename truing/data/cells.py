"""Reading the cells of one record: the type that is wanted, or a sentence on what was found."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from truing.data.rows import Message, Speech, canonical
from truing.data.where import CellError

ROLES = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatbot": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_call": "assistant",
}
# Weights of a framework's own loss are no part of what was said.
_DROPPED_KEYS = {"loss_weight", "weight"}
_TAGS = (("role", "content"), ("from", "value"))


@dataclass(frozen=True)
class Cells:
    """One record, read through the names of the user's columns.

    Args:
        record: column names as they are in the file -> values.
        columns: our name -> the name in the file, where they differ.
        is_text_only: the format has nothing but text (CSV), so numbers are read from text.
        reads_any_tags: turns may be from/value objects without being asked for (ShareGPT).
    """

    record: Mapping[str, Any]
    columns: Mapping[str, str]
    is_text_only: bool = False
    reads_any_tags: bool = False

    def name(self, column: str) -> str:
        """The column as the file calls it."""
        return self.columns.get(column, column)

    def has(self, column: str) -> bool:
        """The record has this column, and it is not null."""
        return self.record.get(self.name(column)) is not None

    def value(self, column: str) -> Any:
        """The cell as it is; missing or null is a `CellError`."""
        name = self.name(column)
        if name not in self.record:
            raise CellError(
                f"has no column `{name}`; it has {', '.join(map(str, self.record)) or 'none'}",
                column=name,
                fix="give every row of a file the same columns",
            )
        if self.record[name] is None:
            raise CellError("is null", column=name, fix=f"give `{name}` a value in every row")
        return self.record[name]

    def speech(self, column: str, *, reads_tags: bool = False) -> Speech:
        """Text, or a list of messages (one message may stand for a list of one)."""
        value = self.value(column)
        if isinstance(value, str):
            return _encodable(value, self.name(column))
        if isinstance(value, Mapping):
            value = [value]
        is_messages = isinstance(value, Sequence) and all(isinstance(v, Mapping) for v in value)
        if not is_messages:
            raise wrong_type(value, "text or a list of messages", self.name(column))
        if not value:
            raise CellError(
                "is an empty list of messages",
                column=self.name(column),
                fix="give at least one turn, or plain text for rows without a prompt",
            )
        return tuple(
            self._message(turn, number, column, reads_tags=reads_tags or self.reads_any_tags)
            for number, turn in enumerate(value, start=1)
        )

    def turns(self, column: str) -> tuple[Message, ...]:
        """A list of messages, in whichever of the two usual spellings."""
        speech = self.speech(column, reads_tags=True)
        if isinstance(speech, str):
            raise wrong_type(speech, "a list of messages", self.name(column))
        return speech

    def speeches(self, column: str) -> tuple[Speech, ...]:
        """A list of texts, or a list of lists of messages."""
        values = self._list(column)
        name = self.name(column)
        return tuple(
            Cells({name: value}, {}, reads_any_tags=self.reads_any_tags).speech(name)
            for value in values
        )

    def text(self, column: str) -> str:
        """A text, possibly empty."""
        value = self.value(column)
        if not isinstance(value, str):
            raise wrong_type(value, "text", self.name(column))
        return _encodable(value, self.name(column))

    def number(self, column: str) -> float:
        """A finite number."""
        return self._finite(self.value(column), self.name(column))

    def numbers(self, column: str) -> tuple[float, ...]:
        """A list of finite numbers."""
        return tuple(self._finite(value, self.name(column)) for value in self._list(column))

    def flag(self, column: str) -> bool:
        """True or false; the numbers 1 and 0 stand for them. Text does not, except in CSV."""
        value = self.value(column)
        if self.is_text_only and isinstance(value, str):
            value = {"true": True, "1": True, "false": False, "0": False}.get(value.lower(), value)
        if isinstance(value, bool) or (isinstance(value, int) and value in {0, 1}):
            return bool(value)
        raise wrong_type(value, "true or false", self.name(column))

    def _list(self, column: str) -> Sequence[Any]:
        value = self.value(column)
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise wrong_type(value, "a list", self.name(column))
        return value

    def _finite(self, value: Any, name: str) -> float:
        if self.is_text_only and isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise wrong_type(value, "a number", name) from None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(value, "a number", name)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise CellError(
                f"is {value!r:.40}, which is not finite", column=name, fix="give finite numbers"
            )
        return number

    def _message(
        self, turn: Mapping[str, Any], number: int, column: str, *, reads_tags: bool
    ) -> Message:
        name = self.name(column)
        role_key, content_key = self._tags(turn, reads_tags=reads_tags)
        if role_key not in turn or (content_key not in turn and "tool_calls" not in turn):
            raise self._unknown_keys(turn, number, name)
        role = turn[role_key]
        if not isinstance(role, str) or role not in ROLES:
            raise CellError(
                f"turn {number} has the unknown role {role!r:.40}",
                column=name,
                fix="the roles are system, developer, user, assistant and tool",
            )
        rest = {
            key: value
            for key, value in turn.items()
            if key not in {role_key, content_key} | _DROPPED_KEYS and value is not None
        }
        _refuse_odd_calls(rest.get("tool_calls", []), number, name)
        content = self._content(turn.get(content_key), number, name, may_be_null=bool(rest))
        return Message(ROLES[role], content, canonical(rest) if rest else "")

    def _tags(self, turn: Mapping[str, Any], *, reads_tags: bool) -> tuple[str, str]:
        given = (self.columns.get("role", "role"), self.columns.get("content", "content"))
        if not reads_tags:
            return given
        spellings = (given, *_TAGS)
        return next((tags for tags in spellings if tags[0] in turn), given)

    def _unknown_keys(self, turn: Mapping[str, Any], number: int, name: str) -> CellError:
        found = ", ".join(map(str, turn)) or "none"
        is_sharegpt = {"from", "value"} <= set(turn)
        return CellError(
            f"turn {number} has the keys {found}; role and content are wanted",
            column=name,
            fix="read it with `columns: {role: from, content: value}`"
            if is_sharegpt
            else "give each turn a role and a content, or name its keys: "
            "`columns: {role: ..., content: ...}`",
        )

    def _content(self, content: Any, number: int, name: str, *, may_be_null: bool) -> str:
        if isinstance(content, str):
            return _encodable(content, name)
        if content is None and may_be_null:
            return ""
        part = self.columns.get("part")
        if isinstance(content, Sequence) and part is not None:
            return "".join(_part_text(item, part, number, name) for item in content)
        keys = (
            [k for item in content if isinstance(item, Mapping) for k in item]
            if (isinstance(content, Sequence))
            else []
        )
        found = f" with the keys {', '.join(map(str, dict.fromkeys(keys)))}" if keys else ""
        raise CellError(
            f"turn {number}: content is {type_name(content)}{found}; text is wanted",
            column=name,
            fix="name the key that holds the text of a part: `columns: {part: text}`"
            if keys
            else "give the content of each turn as text",
        )


def _refuse_odd_calls(calls: Any, number: int, name: str) -> None:
    """Whatever the chat template would make of them, calls are a list of objects."""
    is_list = isinstance(calls, Sequence) and not isinstance(calls, str)
    if not is_list or not all(isinstance(call, Mapping) for call in calls):
        raise CellError(
            f"turn {number}: tool_calls is {type_name(calls)} ({calls!r:.40}); a list of calls, "
            "each an object, is wanted",
            column=name,
            fix="write `tool_calls: [{name: ..., arguments: {...}}]`, as the chat template reads "
            "them",
        )


def _part_text(item: Any, key: str, number: int, name: str) -> str:
    text = item.get(key) if isinstance(item, Mapping) else None
    if not isinstance(text, str):
        raise CellError(
            f"turn {number} has a part without the text `{key}`",
            column=name,
            fix="give text alone; images and sounds cannot be read",
        )
    return _encodable(text, name)


def _encodable(text: str, name: str) -> str:
    """The text; half of a surrogate pair, which no encoding can write, is a `CellError`."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise CellError(
                f"has half a surrogate pair at character {error.start}",
                column=name,
                fix="write the character whole; the text was cut inside an emoji",
            ) from None
    return text


_NAMES: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (lambda v: v is None, "null"),
    (lambda v: isinstance(v, bool), "true or false"),
    (lambda v: isinstance(v, int | float), "a number"),
    (lambda v: isinstance(v, str), "text"),
    (lambda v: isinstance(v, Mapping), "an object"),
    (lambda v: isinstance(v, Sequence) and bool(v) and all(isinstance(i, str) for i in v),
     "a list of texts"),
    (lambda v: isinstance(v, Sequence), "a list"),
)  # fmt: skip


def type_name(value: Any) -> str:
    """What a value is, in the words of JSON."""
    return next((name for test, name in _NAMES if test(value)), type(value).__name__)


def wrong_type(value: Any, wanted: str, column: str) -> CellError:
    """The sentence for a cell of another type."""
    return CellError(
        f"is {type_name(value)} ({value!r:.40}); {wanted} is wanted",
        column=column,
        fix=f"write {wanted}; nothing is converted silently",
    )
