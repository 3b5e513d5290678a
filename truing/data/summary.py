"""What was read, left out, cut and met on the way: the numbers and the sentences of a data set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from truing.data.signal import REASONS
from truing.data.where import SHOWN, Where, named


@dataclass(frozen=True)
class Tally:
    """How many rows something is true of, and where the first few of them are."""

    count: int = 0
    places: tuple[Where, ...] = ()
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows = "1 row" if self.count == 1 else f"{self.count} rows"
        shown = named(self.places)
        if any(self.details):
            both = zip(self.places, self.details, strict=True)
            shown = "; ".join(f"{place}: {detail}" for place, detail in both)
        rest = self.count - len(self.places)
        return f"{rows} ({shown}{f' and {rest} more' if rest else ''})"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        both = zip(self.places, self.details, strict=True)
        first = [f"{place}: {detail}" if detail else str(place) for place, detail in both]
        return {"count": self.count, "first": first}


class Tallies:
    """Counts rows under words, and remembers the first places of each."""

    def __init__(self) -> None:
        self._places: dict[str, list[tuple[Where, str]]] = {}
        self._counts: dict[str, int] = {}

    def add(self, word: str, where: Where, detail: str = "") -> None:
        """One more row; `detail` says in a few words what is particular about it."""
        self._counts[word] = self._counts.get(word, 0) + 1
        places = self._places.setdefault(word, [])
        if len(places) < SHOWN:
            places.append((where, detail))

    def __getitem__(self, word: str) -> Tally:
        first = self._places.get(word, [])
        places, details = tuple(p for p, _ in first), tuple(d for _, d in first)
        return Tally(self._counts.get(word, 0), places, details)

    def of(self, words: Mapping[str, str]) -> dict[str, Tally]:
        """Those of the words that were counted at all."""
        return {word: self[word] for word in words if word in self._counts}


@dataclass(frozen=True)
class DataSummary:
    """What became of the rows of some data.

    Args:
        rows_read: records met, malformed ones included.
        rows: examples that are left.
        pairs: pairs they make.
        responses: responses they hold.
        kinds: rows left, by kind.
        layouts: the layout of each file.
        malformed: rows that were written out with `skip_bad`.
        left_out: rows without signal or over the limit, by the words of `signal.REASONS`.
        prompt_tokens: of the rows left.
        response_tokens: of the rows left, end tokens included.
        longest: tokens of the longest prompt with response.
        shortened: rows over the limit that were cut to it.
        lost_tokens: tokens that were cut away from them.
        moved: rows in which tokens moved from the prompt across its border.
        moved_tokens: how many.
        special: rows whose text holds control texts of the tokenizer.
        idle_tools: rows whose descriptions of tools reach no model: plain text, or a chat template
            that writes none.
        odd_turns: conversations in which one role speaks twice in a row, or the assistant first.
        ends_inside: rows with an end token before the end of a response.
        end_first: rows without a prompt token, to which the end token was put first.
        several_turns: rows whose responses hold several turns, the assistant's alone learned.
        context_tokens: tokens of others in these responses, which carry no loss.
        ties: pair rows with equal scores (kept, where the objective needs no order).
        reversed: pair rows whose rejected response has the higher score (kept likewise).
        empty_responses: empty responses that were taken out of K-wise rows.
        duplicates: rows that repeat one before them.
        fingerprint: hash of the row ids in their order.
        notes: what the user should read, one sentence each.
    """

    rows_read: int
    rows: int
    pairs: int
    responses: int
    kinds: Mapping[str, int]
    layouts: Mapping[str, str]
    malformed: Tally = Tally()
    left_out: Mapping[str, Tally] = field(default_factory=lambda: MappingProxyType({}))
    prompt_tokens: int = 0
    response_tokens: int = 0
    longest: int = 0
    shortened: Tally = Tally()
    lost_tokens: int = 0
    moved: Tally = Tally()
    moved_tokens: int = 0
    special: Tally = Tally()
    idle_tools: Tally = Tally()
    odd_turns: Tally = Tally()
    ends_inside: Tally = Tally()
    end_first: Tally = Tally()
    several_turns: Tally = Tally()
    context_tokens: int = 0
    ties: Tally = Tally()
    reversed: Tally = Tally()
    empty_responses: Tally = Tally()
    duplicates: int = 0
    fingerprint: str = ""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `data.json`."""
        values: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            values[name] = value.to_json() if isinstance(value, Tally) else value
        values["left_out"] = {word: tally.to_json() for word, tally in self.left_out.items()}
        values["kinds"], values["layouts"] = dict(self.kinds), dict(self.layouts)
        values["notes"] = list(self.notes)
        return values


def left_out_sentences(left_out: Mapping[str, Tally]) -> list[str]:
    """One sentence for each reason."""
    return [f"left out, {REASONS[word]}: {tally}" for word, tally in left_out.items()]


def sentences(summary: DataSummary, *, one_label: str = "") -> tuple[str, ...]:
    """What a user should know of a summary, most serious first."""
    facts = (
        (summary.malformed, "malformed, written out"),
        (summary.shortened, f"cut to max_length ({summary.lost_tokens} tokens lost)"),
        (summary.ends_inside, "an end token inside a response; the loss goes on behind it"),
        (summary.special, "control texts of the tokenizer inside the text, read as control tokens"),
        (
            summary.several_turns,
            "responses of several turns; only the assistant's are learned "
            f"({summary.context_tokens} tokens between them carry no loss)",
        ),
        (
            summary.idle_tools,
            "descriptions of tools that reach no model (plain text, or a chat template without)",
        ),
        (summary.odd_turns, "an unusual order of turns, which the chat template took"),
        (summary.reversed, "the rejected response has the higher score"),
        (summary.ties, "equal scores"),
        (summary.empty_responses, "empty responses taken out"),
        (summary.end_first, "no prompt token and no begin token: the end token is put first"),
    )
    texts = [f"{text}: {tally}" for tally, text in facts if tally.count]
    return (*left_out_sentences(summary.left_out), *texts, *([one_label] if one_label else ()))
