"""What claims are about: measures, differences, places on a frontier, courses over a knob."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from truing.evaluation.frontier import on_frontier
from truing.studies.claims import Quantity
from truing.studies.table import Point, Table

_LEVELS = 9  # of KL, at which two methods are set beside each other


@dataclass(frozen=True)
class Measure:
    """A measure at a point of the table, times a factor (-1: less is more)."""

    point: Point
    measure: str
    factor: float = 1.0

    def per_seed(self, table: Table) -> Mapping[int, float]:
        """See `Quantity`."""
        found = table.numbers(self.point, self.measure)
        return {seed: self.factor * value for seed, value in found.items()}


@dataclass(frozen=True)
class Minus:
    """One quantity less another, within a seed."""

    one: Quantity
    other: Quantity

    def per_seed(self, table: Table) -> Mapping[int, float]:
        """See `Quantity`."""
        one, other = self.one.per_seed(table), self.other.per_seed(table)
        return {seed: one[seed] - other[seed] for seed in one if seed in other}


def more(one: Point, other: Point, measure: str) -> Minus:
    """How much more of a measure one point has than another."""
    return Minus(Measure(one, measure), Measure(other, measure))


@dataclass(frozen=True)
class AtEqualKL:
    """How much more of a measure a method has than a rival where both are as far from the start.

    Each method's points (its values) are joined by straight lines over KL; the difference is its
    mean over the KLs that both cover. A seed where they cover none together is left out.
    """

    method: str
    rival: str
    measure: str = "score"
    arm: str = ""

    def per_seed(self, table: Table) -> Mapping[int, float]:
        """See `Quantity`."""
        found = {}
        for seed in table.seeds():
            one, other = (self._line(table, name, seed) for name in (self.method, self.rival))
            low = max(one[0].min(initial=np.inf), other[0].min(initial=np.inf))
            high = min(one[0].max(initial=-np.inf), other[0].max(initial=-np.inf))
            if len(one[0]) < 2 or len(other[0]) < 2 or low >= high:
                continue
            at = np.linspace(low, high, _LEVELS)
            found[seed] = float(np.mean(np.interp(at, *one) - np.interp(at, *other)))
        return found

    def _line(self, table: Table, method: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
        points = [
            (row.numbers["kl"], row.numbers[self.measure])
            for row in table.rows
            if (row.method, row.arm, row.seed) == (method, self.arm, seed)
            and {"kl", self.measure} <= row.numbers.keys()
        ]
        array = np.array(sorted(points), dtype=float).reshape(-1, 2)
        return array[:, 0], array[:, 1]


@dataclass(frozen=True)
class ParetoShare:
    """A method's share of the frontier of score and KL, less its share of all points.

    0: it is on the frontier as often as any; the frontier is over all methods named.
    """

    method: str
    among: tuple[str, ...]
    arm: str = ""

    def per_seed(self, table: Table) -> Mapping[int, float]:
        """See `Quantity`."""
        found = {}
        for seed in table.seeds():
            rows = [
                row
                for row in table.rows
                if row.method in self.among
                and (row.arm, row.seed) == (self.arm, seed)
                and {"kl", "score"} <= row.numbers.keys()
            ]
            mine = np.array([row.method == self.method for row in rows], dtype=bool)
            if mine.any():
                kl, score = (
                    np.array([row.numbers[key] for row in rows]) for key in ("kl", "score")
                )
                is_on = on_frontier(kl, score)
                found[seed] = float(mine[is_on].mean() - mine.mean())
        return found


@dataclass(frozen=True)
class Slope:
    """How a measure changes when the knob is multiplied by ten, fitted over a method's values."""

    method: str
    measure: str
    arm: str = ""
    factor: float = 1.0

    def per_seed(self, table: Table) -> Mapping[int, float]:
        """See `Quantity`."""
        by_seed: dict[int, list[tuple[float, float]]] = {}
        for value in table.values(self.method, self.arm):
            at = table.numbers(Point(self.method, value, self.arm), self.measure)
            for seed, measured in at.items():
                by_seed.setdefault(seed, []).append((float(np.log10(value)), measured))
        found = {}
        for seed, points in by_seed.items():
            x, y = np.array(points).T
            if len(points) > 1:
                found[seed] = self.factor * float(np.polyfit(x, y, 1)[0])
        return found


@dataclass(frozen=True)
class OverArms:
    """Correlation, over arms of the data, of what one method has more than another with a fact.

    Args:
        fact: a number of the arm's rows (`data_...`).
    """

    method: str
    rival: str
    measure: str
    fact: str
    factor: float = 1.0

    def per_seed(self, table: Table) -> Mapping[int, float]:
        """See `Quantity`."""
        found = {}
        for seed in table.seeds():
            points = []
            for arm in table.arms():
                ends = [
                    table.numbers(Point(name, table.best(name, arm), arm), key).get(seed)
                    for name, key in (
                        (self.method, self.measure),
                        (self.rival, self.measure),
                        (self.method, self.fact),
                    )
                ]
                if None not in ends:
                    one, other, fact = map(float, ends)  # type: ignore[arg-type]
                    points.append((one - other, fact))
            columns = np.array(points, dtype=float).T
            if len(points) > 2 and (columns.std(axis=1) > 0).all():
                found[seed] = self.factor * float(np.corrcoef(columns)[0, 1])
        return found


@dataclass(frozen=True)
class BestApart:
    """How many powers of ten a method's best value lies above a rival's, chosen seed by seed."""

    method: str
    rival: str
    arm: str = ""

    def per_seed(self, table: Table) -> Mapping[int, float]:
        """See `Quantity`."""
        found = {}
        for seed in table.seeds():
            alone = Table(tuple(r for r in table.rows if r.seed == seed), table.tuned_by)
            one, other = (alone.best(name, self.arm) for name in (self.method, self.rival))
            if one and other:
                found[seed] = float(np.log10(one / other))
        return found
