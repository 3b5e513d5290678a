"""The layouts that preference data comes in: one table, from the columns of a file to its rows."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from truing.data.cells import Cells
from truing.data.implicit import common_start, common_turns
from truing.data.rows import Message, Row, Speech, canonical
from truing.data.where import CellError, Where

# Message keys that a mapping of columns may name, beside the columns of the layouts.
MESSAGE_KEYS = ("role", "content", "part")
ASKING = ("user", "tool")


@dataclass(frozen=True)
class Layout:
    """One way to write a row.

    Args:
        name: as messages and `truing convert` call it.
        needs: columns that make a file this layout.
        may: columns that are read where they are there.
        read: a record to a row; raises `CellError`.
        is_auxiliary: text to be learned, without anything that prefers it.
    """

    name: str
    needs: tuple[str, ...]
    may: tuple[str, ...]
    read: Callable[[Cells, Where], Row]
    is_auxiliary: bool = False


def _pair_numbers(cells: Cells) -> dict[str, Any]:
    """Scores and win probabilities of a pair, as arguments of `Row`."""
    numbers: dict[str, Any] = {}
    both = ("score_chosen", "score_rejected")
    if any(cells.name(column) in cells.record for column in both):
        numbers["scores"] = tuple(cells.number(column) for column in both)
    elif cells.name("margin") in cells.record:
        numbers["scores"] = (cells.number("margin"), 0.0)
    if cells.name("win_probability_chosen") in cells.record:
        chosen = cells.number("win_probability_chosen")
        given = cells.has("win_probability_rejected")
        rejected = cells.number("win_probability_rejected") if given else 1.0 - chosen
        numbers["win_probability"] = _probabilities((chosen, rejected), "win_probability_chosen")
    return numbers


def _probabilities(values: tuple[float, ...], column: str) -> tuple[float, ...]:
    if not all(0.0 <= value <= 1.0 for value in values):
        raise CellError(
            f"is {values}, not all between 0 and 1", column=column, fix="give probabilities"
        )
    return values


def tools_of(cells: Cells) -> str:
    """One JSON list; text is read as JSON, and empty text is none."""
    if not cells.has("tools"):
        return ""
    tools = cells.value("tools")
    if isinstance(tools, str):
        try:
            tools = json.loads(tools) if tools.strip() else []
        except ValueError:
            tools = None
    if not isinstance(tools, list):
        raise CellError(
            "is no list of tools",
            column=cells.name("tools"),
            fix="give a list of descriptions, or such a list as JSON text",
        )
    return canonical(tools) if tools else ""


def _checked(prompt: Speech, responses: Sequence[Speech], columns: Sequence[str]) -> None:
    """One kind within a row; who speaks last in a prompt, and who speaks in a response.

    The rule: a prompt ends with a user's (or a tool's) turn, a system turn stands first, and a
    response begins and ends with the assistant. Any other order is the chat template's to refuse.
    """
    kinds = {isinstance(speech, str) for speech in (prompt, *responses)}
    if len(kinds) > 1:
        words = [
            f"`{column}` is {'text' if isinstance(speech, str) else 'conversational'}"
            for column, speech in zip(columns, (prompt, *responses), strict=False)
        ]
        raise CellError(
            f"mixes kinds: {', '.join(words)}",
            fix="write prompt and responses either all as text or all as messages",
        )
    if not isinstance(prompt, str):
        _check_prompt(prompt, columns[0])
        for column, response in zip(columns[1:], responses, strict=False):
            assert not isinstance(response, str)
            _check_response(response, column)


def _check_prompt(prompt: Sequence[Message], column: str) -> None:
    for number, turn in enumerate(prompt[1:], start=2):
        if turn.role == "system":
            raise CellError(
                f"has a system turn as turn {number}; it may only stand first",
                column=column,
                fix="put the system turn first",
            )
    if prompt[-1].role not in ASKING:
        raise CellError(
            f"turn {len(prompt)} ends the prompt and is the {prompt[-1].role}'s",
            column=column,
            fix="end the prompt with a user's or a tool's turn; the response follows it",
        )


def _check_response(response: Sequence[Message], column: str) -> None:
    for number in (1, len(response)):
        if response[number - 1].role != "assistant":
            raise CellError(
                f"turn {number} of the response is the {response[number - 1].role}'s",
                column=column,
                fix="a response begins and ends with the assistant",
            )
    for number, turn in enumerate(response, start=1):
        if turn.role in {"system", "developer"}:
            raise CellError(
                f"turn {number} of the response is a {turn.role} turn; it may only stand first",
                column=column,
                fix="put it at the start of the prompt, or write it as a user's turn",
            )


def _prompted(cells: Cells, columns: tuple[str, ...], where: Where) -> tuple[Speech, list[Speech]]:
    """Prompt and responses of columns, the prompt taken from the responses where it is implicit."""
    responses = [cells.speech(column) for column in columns]
    if cells.name("prompt") not in cells.record:
        if any(isinstance(speech, str) for speech in responses):
            return common_start(responses, columns)
        return common_turns(responses)
    prompt = cells.speech("prompt")
    # A prompt as text beside whole conversations repeats what these begin with.
    if isinstance(prompt, str) and not any(isinstance(speech, str) for speech in responses):
        turns, rest = common_turns(responses)
        if prompt not in [turn.content for turn in turns]:
            raise CellError(
                "is text, the responses are messages, and no common turn of theirs is that text",
                column=cells.name("prompt"),
                fix="write prompt and responses either all as text or all as messages",
            )
        return turns, rest
    return prompt, responses


def _pair(cells: Cells, where: Where) -> Row:
    columns = ("chosen", "rejected")
    prompt, responses = _prompted(cells, columns, where)
    _checked(prompt, responses, [cells.name(column) for column in ("prompt", *columns)])
    return Row(
        prompt, tuple(responses), "pair", where, tools=tools_of(cells), **_pair_numbers(cells)
    )


def _kwise(cells: Cells, where: Where) -> Row:
    prompt, responses = cells.speech("prompt"), cells.speeches("responses")
    name = cells.name("responses")
    if not responses:
        raise CellError("is an empty list", column=name, fix="give at least one response")
    _checked(prompt, responses, [cells.name("prompt"), *([name] * len(responses))])
    numbers: dict[str, Any] = {}
    for column, key in (("scores", "scores"), ("win_probabilities", "win_probability")):
        if cells.name(column) not in cells.record:
            continue
        values = cells.numbers(column)
        if len(values) != len(responses):
            raise CellError(
                f"has {len(values)} numbers for {len(responses)} responses",
                column=cells.name(column),
                fix="give one number for each response",
            )
        numbers[key] = values if key == "scores" else _probabilities(values, cells.name(column))
    return Row(prompt, responses, "kwise", where, tools=tools_of(cells), **numbers)


def _one(cells: Cells, where: Where, column: str, *, has_label: bool) -> Row:
    prompt, responses = _prompted(cells, (column,), where)
    _checked(prompt, responses, [cells.name("prompt"), cells.name(column)])
    extra: dict[str, Any] = {"label": cells.flag("label")} if has_label else {}
    if cells.has("score"):
        extra["scores"] = (cells.number("score"),)
    if cells.has("win_probability"):
        values = (cells.number("win_probability"),)
        extra["win_probability"] = _probabilities(values, cells.name("win_probability"))
    return Row(prompt, tuple(responses), "unpaired", where, tools=tools_of(cells), **extra)


def _unpaired(cells: Cells, where: Where) -> Row:
    return _one(cells, where, "completion", has_label=True)


def _sharegpt(cells: Cells, column: str) -> tuple[Message, ...]:
    turns = cells.turns(column)
    if cells.has("system") and cells.text("system") and turns[0].role != "system":
        turns = (Message("system", cells.text("system")), *turns)
    return turns


def _ranking(cells: Cells, where: Where) -> Row:
    cells = replace(cells, reads_any_tags=True)
    prompt = _sharegpt(cells, "conversations")
    responses = tuple(cells.speech(column) for column in ("chosen", "rejected"))
    names = [cells.name(column) for column in ("conversations", "chosen", "rejected")]
    _checked(prompt, responses, names)
    return Row(prompt, responses, "pair", where, tools=tools_of(cells), **_pair_numbers(cells))


def _last_turn(column: str, label: str | None) -> Callable[[Cells, Where], Row]:
    """A whole conversation whose last turn is judged.

    Without a label nothing is judged, and the response begins with the assistant's first turn.
    """

    def read(cells: Cells, where: Where) -> Row:
        turns = _sharegpt(cells, column)
        if len(turns) < 2:
            raise CellError(
                f"has {len(turns)} turn; a prompt and a response are wanted",
                column=cells.name(column),
                fix="end each conversation with the assistant's turn that is judged",
            )
        border = len(turns) - 1
        if label is None:
            first = (i for i, t in enumerate(turns[1:], 1) if t.role == "assistant")
            border = next(first, border)
        prompt, response = turns[:border], turns[border:]
        _checked(prompt, (response,), [cells.name(column)] * 2)
        flag = None if label is None else cells.flag(label)
        return Row(prompt, (response,), "unpaired", where, label=flag, tools=tools_of(cells))

    return read


def _parts(cells: Cells, where: Where) -> Row:
    columns = ("chosen_messages", "rejected_messages")
    # Content is text, or a list of parts whose text is called `value`.
    cells = replace(cells, columns={"part": "value", **cells.columns})
    prompt, responses = common_turns([cells.turns(column) for column in columns])
    _checked(prompt, responses, [cells.name(columns[0]), *(cells.name(c) for c in columns)])
    return Row(
        prompt, tuple(responses), "pair", where, tools=tools_of(cells), **_pair_numbers(cells)
    )


def _instruction(cells: Cells) -> tuple[Message, ...]:
    """Alpaca's columns as one user turn: the instruction, and below it the input, if any."""
    text = cells.text("instruction")
    if cells.has("input") and cells.text("input"):
        text = f"{text}\n{cells.text('input')}"
    system = (Message("system", cells.text("system")),) if cells.has("system") else ()
    return (*(turn for turn in system if turn.content), Message("user", text))


def _alpaca_pair(cells: Cells, where: Where) -> Row:
    responses = tuple((Message("assistant", cells.text(c)),) for c in ("chosen", "rejected"))
    return Row(_instruction(cells), responses, "pair", where, **_pair_numbers(cells))


def _alpaca_unpaired(cells: Cells, where: Where) -> Row:
    response = (Message("assistant", cells.text("output")),)
    return Row(_instruction(cells), (response,), "unpaired", where, label=cells.flag("kto_tag"))


def _alpaca_text(cells: Cells, where: Where) -> Row:
    response = (Message("assistant", cells.text("output")),)
    return Row(_instruction(cells), (response,), "unpaired", where)


def _text(cells: Cells, where: Where) -> Row:
    return Row("", (cells.text("text"),), "unpaired", where)


def _completion(cells: Cells, where: Where) -> Row:
    return _one(cells, where, "completion", has_label=False)


_SCORES = ("score_chosen", "score_rejected", "margin")
_WINS = ("win_probability_chosen", "win_probability_rejected")

# The first layout whose needed columns are all there is taken, so the special come first.
LAYOUTS = (
    Layout("ranking", ("conversations", "chosen", "rejected"),
           ("system", "tools", *_SCORES, *_WINS), _ranking),
    Layout("parts", ("chosen_messages", "rejected_messages"), ("tools", *_SCORES, *_WINS), _parts),
    Layout("instruction", ("instruction", "chosen", "rejected"),
           ("input", "system", *_SCORES, *_WINS), _alpaca_pair),
    Layout("instruction-unpaired", ("instruction", "output", "kto_tag"),
           ("input", "system"), _alpaca_unpaired),
    Layout("kwise", ("prompt", "responses"), ("scores", "win_probabilities", "tools"), _kwise),
    Layout("pair", ("chosen", "rejected"), ("prompt", "tools", *_SCORES, *_WINS), _pair),
    Layout("unpaired", ("prompt", "completion", "label"),
           ("score", "win_probability", "tools"), _unpaired),
    Layout("messages", ("messages", "label"), ("system", "tools"), _last_turn("messages", "label")),
    Layout("messages-tag", ("messages", "kto_tag"), ("system", "tools"),
           _last_turn("messages", "kto_tag")),
    Layout("conversations", ("conversations", "label"), ("system", "tools"),
           _last_turn("conversations", "label")),
    Layout("conversations-tag", ("conversations", "kto_tag"), ("system", "tools"),
           _last_turn("conversations", "kto_tag")),
)  # fmt: skip

AUXILIARY_LAYOUTS = (
    Layout("completion", ("prompt", "completion"), ("tools",), _completion, is_auxiliary=True),
    Layout("messages-learned", ("messages",), ("system", "tools"),
           _last_turn("messages", None), is_auxiliary=True),
    Layout("conversations-learned", ("conversations",), ("system", "tools"),
           _last_turn("conversations", None), is_auxiliary=True),
    Layout("instruction-learned", ("instruction", "output"), ("input", "system"),
           _alpaca_text, is_auxiliary=True),
    Layout("text", ("text",), (), _text, is_auxiliary=True),
)  # fmt: skip


def find_layout(
    columns: Sequence[str], mapping: Mapping[str, str], layouts: Sequence[Layout]
) -> Layout | None:
    """The layout of a file with these columns (as the file calls them)."""
    there = set(columns)

    def fits(layout: Layout) -> bool:
        return all(mapping.get(column, column) in there for column in layout.needs)

    return next((layout for layout in layouts if fits(layout)), None)


def known_columns() -> tuple[str, ...]:
    """Every column and message key that a mapping may name."""
    names = (n for layout in (*LAYOUTS, *AUXILIARY_LAYOUTS) for n in (*layout.needs, *layout.may))
    return tuple(dict.fromkeys([*names, *MESSAGE_KEYS]))
