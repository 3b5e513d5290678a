"""The cells of a study as a table, and where in it a method stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

BEST: Literal["best"] = "best"
TUNED_BY = "tuning_score"
"""The number by which a method's value is chosen; of the tuning prompts alone."""


@dataclass(frozen=True)
class CellRow:
    """What became of one setting with one seed.

    Args:
        numbers: measures by name; empty where the run stopped itself.
        fault: why it did; "" where it did not.
        curves: lines of training, thinned: by name, (step, value).
        buckets: accuracy on held-out pairs by length difference, as an evaluation gives it.
        samples: a few responses, with their tokens' log-ratios.
    """

    method: str
    value: float | None
    arm: str
    seed: int
    numbers: Mapping[str, float]
    fault: str = ""
    curves: Mapping[str, Sequence[Sequence[float]]] | None = None
    buckets: Sequence[Mapping[str, Any]] = ()
    samples: Sequence[Mapping[str, Any]] = ()
    objective: str = ""

    def to_json(self) -> dict[str, Any]:
        """The numbers without curves and samples, for the kept results."""
        return {
            "method": self.method,
            "value": self.value,
            "arm": self.arm,
            "seed": self.seed,
            "objective": self.objective,
            "fault": self.fault,
            "numbers": dict(self.numbers),
        }


@dataclass(frozen=True)
class Point:
    """A place in the table.

    Args:
        value: of the knob; "best": the one with the best mean tuning score; None: the only one.
    """

    method: str
    value: float | Literal["best"] | None = None
    arm: str = ""


@dataclass(frozen=True)
class Table:
    """All cells of a study.

    Args:
        rows: one a cell.
        tuned_by: the number that chooses a method's value, more being better.
    """

    rows: tuple[CellRow, ...]
    tuned_by: str = TUNED_BY

    def methods(self, arm: str | None = None) -> list[str]:
        """Their names in order of appearance."""
        return list(dict.fromkeys(r.method for r in self.rows if arm in {None, r.arm}))

    def arms(self) -> list[str]:
        """Their names in order of appearance."""
        return list(dict.fromkeys(row.arm for row in self.rows))

    def seeds(self) -> list[int]:
        """In order."""
        return sorted({row.seed for row in self.rows})

    def values(self, method: str, arm: str = "") -> list[float]:
        """A method's values on one arm, rising."""
        found = {r.value for r in self.rows if r.method == method and r.arm == arm}
        return sorted(value for value in found if value is not None)

    def at(self, point: Point) -> list[CellRow]:
        """The cells of a point, one a seed."""
        value = self.best(point.method, point.arm) if point.value == BEST else point.value
        return [
            row
            for row in self.rows
            if (row.method, row.arm) == (point.method, point.arm) and row.value in {value, None}
        ]

    def best(self, method: str, arm: str = "") -> float | None:
        """The value with the best mean over seeds on the tuning prompts; None where none has any.

        A value at which a run stopped itself is never the best.
        """
        means = {
            value: np.mean([row.numbers.get(self.tuned_by, np.nan) for row in rows])
            for value in self.values(method, arm)
            if (rows := self.at(Point(method, value, arm)))
        }
        known = {value: float(mean) for value, mean in means.items() if np.isfinite(mean)}
        return max(known, key=lambda value: known[value]) if known else None

    def numbers(self, point: Point, measure: str) -> dict[int, float]:
        """A measure by seed, where it is known."""
        return {
            row.seed: float(row.numbers[measure])
            for row in self.at(point)
            if row.numbers.get(measure) is not None and np.isfinite(row.numbers[measure])
        }
