"""Claims as checks: a quantity of each seed, its interval over seeds, and one of three verdicts.

S seeds. A quantity is one number a seed (seeds share prompts and sampling noise, so differences
between methods are taken within a seed). Its interval is Student's over seeds (Student 1908), 95 %,
two-sided, each claim by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from scipy import stats

from truing.studies.table import Table

Word = Literal["holds", "does not hold", "undecided at this scale"]
HOLDS: Word = "holds"
FAILS: Word = "does not hold"
OPEN: Word = "undecided at this scale"
CONFIDENCE = 0.95


class Quantity(Protocol):
    """Something that has one number a seed."""

    def per_seed(self, table: Table) -> Mapping[int, float]:
        """By seed; a seed for which it is not defined is left out."""
        ...


@dataclass(frozen=True)
class Interval:
    """A mean over S seeds with its bounds; they are NaN where one seed says nothing of noise."""

    mean: float
    low: float
    high: float
    seeds: int

    def to_json(self) -> dict[str, float | int | None]:
        """Plain numbers; None where undefined."""
        plain = {"mean": self.mean, "low": self.low, "high": self.high}
        numbers = {key: None if np.isnan(v) else float(v) for key, v in plain.items()}
        return {**numbers, "seeds": self.seeds}


def interval(values: Sequence[float]) -> Interval:
    """Mean and Student's interval of some seeds' values."""
    array = np.array(values, dtype=float)
    if not len(array):
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(array.mean())
    if len(array) < 2:
        return Interval(mean, np.nan, np.nan, 1)
    error = float(array.std(ddof=1)) / np.sqrt(len(array))
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(array) - 1)) * error
    return Interval(mean, mean - reach, mean + reach, len(array))


@dataclass(frozen=True)
class Part:
    """A quantity that must lie above a bound.

    Args:
        words: what the number is.
        quantity: of each seed.
        above: the bound.
    """

    words: str
    quantity: Quantity
    above: float = 0.0

    def judge(self, table: Table) -> "Judged":
        """Its interval over seeds, and what that says."""
        found = interval(list(self.quantity.per_seed(table).values()))
        return Judged(self.words, self.above, found, word_of(found, self.above))


def word_of(found: Interval, above: float) -> Word:
    """Above the bound with its whole interval, at or below it with its whole interval, or open."""
    if np.isnan(found.low):
        return OPEN
    if found.low > above:
        return HOLDS
    return FAILS if found.high <= above else OPEN


@dataclass(frozen=True)
class Judged:
    """A part with its numbers."""

    words: str
    above: float
    interval: Interval
    verdict: Word

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "words": self.words,
            "above": self.above,
            "verdict": self.verdict,
            **self.interval.to_json(),
        }


@dataclass(frozen=True)
class Claim:
    """A sentence that holds if all of its parts do.

    Args:
        text: the sentence.
        parts: checks; one that fails makes the claim fail, else one that is open leaves it open.
        is_papers: False where the sentence is ours, about this world.
    """

    text: str
    parts: tuple[Part, ...]
    is_papers: bool = True

    def judge(self, table: Table) -> "Verdict":
        """All parts, and what they say together."""
        judged = tuple(part.judge(table) for part in self.parts)
        return Verdict(self.text, self.is_papers, judged, together([one.verdict for one in judged]))


def together(verdicts: Sequence[Word]) -> Word:
    """All hold, one fails, or neither."""
    if FAILS in verdicts:
        return FAILS
    return HOLDS if all(one == HOLDS for one in verdicts) else OPEN


@dataclass(frozen=True)
class Verdict:
    """A claim with its numbers."""

    text: str
    is_papers: bool
    parts: tuple[Judged, ...]
    word: Word

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "claim": self.text,
            "verdict": self.word,
            "is_papers": self.is_papers,
            "parts": [part.to_json() for part in self.parts],
        }
