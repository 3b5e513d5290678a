"""What is drawn of a table of cells, as plain numbers: the report draws, this computes.

A series is a label, x and y, with the bounds of y (and of x) over seeds where there are several.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from truing.studies.claims import interval
from truing.studies.table import BEST, Point, Table


@dataclass(frozen=True)
class Series:
    """One line or set of marks; None stands for what is not known."""

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {k: v if isinstance(v, str) else list(v) for k, v in vars(self).items()}


@dataclass(frozen=True)
class Drawn:
    """A figure in numbers.

    Args:
        name: unique in the study, fit for an id.
        title: the question.
        caption: how to read it.
        series: what is drawn.
        level: a thin line across, where something is to be measured by it.
        ticks: names of the places 0, 1, ... on the x axis; () where x are numbers.
    """

    name: str
    title: str
    caption: str
    x_title: str
    y_title: str
    series: tuple[Series, ...]
    is_log: bool = False
    level: float | None = None
    has_lines: bool = True
    ticks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "series": [one.to_json() for one in self.series]}


class Plot(Protocol):
    """Something that can be drawn of a table."""

    def draw(self, table: Table, knob: str) -> tuple[Drawn, ...]:
        """The figures in numbers; those without any point are left out."""
        ...


WORDS: Mapping[str, str] = {
    "score": "true score",
    "kl": "KL to the start (nats a response)",
    "length": "tokens per response",
    "win_rate": "win rate against the start",
    "length_controlled_win_rate": "win rate at equal lengths",
    "reward_accuracy": "accuracy on held-out pairs",
    "drift_chosen": "log-ratio of chosen responses (nats)",
    "drift_rejected": "log-ratio of rejected responses (nats)",
    "broken": "share of broken sentences",
    "cut": "share of responses cut at the cap",
    "data_end_push": "net push on the end token, by calculation",
}


@dataclass(frozen=True)
class Against:
    """One measure over another or over the knob, a series a method, a figure an arm.

    Args:
        x: "value" or a measure.
        y: a measure.
    """

    y: str
    x: str = "value"
    title: str = ""
    caption: str = ""
    methods: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    is_log: bool = True
    level: float | None = None

    def draw(self, table: Table, knob: str) -> tuple[Drawn, ...]:
        """See `Plot`."""
        found = []
        for number, arm in enumerate(table.arms()):
            if self.arms and arm not in self.arms:
                continue
            methods = [m for m in table.methods(arm) if not self.methods or m in self.methods]
            series = tuple(one for m in methods if (one := self._series(table, m, arm)).x)
            if not series:
                continue
            told = f" ({arm})" if arm else ""
            found.append(
                Drawn(
                    f"{self.y}-{self.x}-{number}",
                    (self.title or f"{_said(self.y, knob)} over {_said(self.x, knob)}") + told,
                    self.caption + " Bars are 95 % intervals over seeds.",
                    _said(self.x, knob),
                    _said(self.y, knob),
                    series,
                    self.is_log and all(x > 0 for one in series for x in one.x),
                    self.level,
                )
            )
        return tuple(found)

    def _series(self, table: Table, method: str, arm: str) -> Series:
        x, y, low, high = [], [], [], []
        for value in table.values(method, arm) or [None]:
            point = Point(method, value, arm)
            ys = interval(list(table.numbers(point, self.y).values()))
            xs = (
                interval(list(table.numbers(point, self.x).values())) if self.x != "value" else None
            )
            place = value if xs is None else xs.mean
            if place is None or np.isnan(place) or np.isnan(ys.mean):
                continue
            x.append(float(place))
            y.append(ys.mean)
            low.append(plain(ys.low))
            high.append(plain(ys.high))
        return Series(method, x, y, low, high)


@dataclass(frozen=True)
class Bars:
    """A measure of each method at its best value, method by method: one figure an arm's table."""

    y: str
    title: str
    caption: str = ""
    level: float | None = None

    def draw(self, table: Table, knob: str) -> tuple[Drawn, ...]:
        """See `Plot`. Arms stand side by side; x is the place of the arm."""
        arms = table.arms()
        series = []
        for method in table.methods():
            x, y, low, high = [], [], [], []
            for place, arm in enumerate(arms):
                found = interval(list(table.numbers(Point(method, BEST, arm), self.y).values()))
                if not np.isnan(found.mean):
                    x.append(float(place))
                    y.append(found.mean)
                    low.append(plain(found.low))
                    high.append(plain(found.high))
            if x:
                series.append(Series(method, x, y, low, high))
        if not series:
            return ()
        caption = f"{self.caption} Each method at its best value; bars are intervals over seeds."
        return (
            Drawn(
                f"bars-{self.y}", self.title, caption, "", _said(self.y, knob), tuple(series),
                level=self.level, has_lines=False, ticks=tuple(arm or "all data" for arm in arms),
            ),
        )  # fmt: skip


@dataclass(frozen=True)
class AcrossArms:
    """How much more of a measure methods have than a rival, over a fact of each arm's data."""

    y: str
    fact: str
    rival: str
    methods: tuple[str, ...]
    title: str
    caption: str = ""

    def draw(self, table: Table, knob: str) -> tuple[Drawn, ...]:
        """See `Plot`. A point is an arm."""
        series = tuple(one for method in self.methods if (one := self._series(table, method)).x)
        return (
            Drawn(
                f"across-{self.y}",
                self.title,
                f"{self.caption} A point is one sort of data; bars are intervals over seeds.",
                _said(self.fact, knob),
                f"{_said(self.y, knob)}, less that of {self.rival}",
                series,
                level=0.0,
                has_lines=False,
            ),
        )[: len(series)]

    def _series(self, table: Table, method: str) -> Series:
        points = []
        for arm in table.arms():
            mine, theirs = (
                table.numbers(Point(name, BEST, arm), self.y) for name in (method, self.rival)
            )
            found = interval([mine[seed] - theirs[seed] for seed in mine if seed in theirs])
            facts = list(table.numbers(Point(method, BEST, arm), self.fact).values())
            if facts and found.seeds:
                points.append((float(np.mean(facts)), found))
        return Series(
            method,
            [x for x, _ in points],
            [one.mean for _, one in points],
            [plain(one.low) for _, one in points],
            [plain(one.high) for _, one in points],
        )


@dataclass(frozen=True)
class Course:
    """A number over the steps of training, a series a method at its best value; mean of seeds."""

    key: str
    title: str
    y_title: str
    caption: str = ""
    arm: str = ""
    methods: tuple[str, ...] = ()
    value: float | str = BEST

    def draw(self, table: Table, knob: str) -> tuple[Drawn, ...]:
        """See `Plot`."""
        series = []
        for method in self.methods or table.methods(self.arm):
            rows = table.at(Point(method, self.value, self.arm))  # type: ignore[arg-type]
            found = [(row.curves or {}).get(self.key) for row in rows]
            curves = [np.array(curve) for curve in found if curve]
            shortest = min(map(len, curves), default=0)
            if shortest:
                mean = np.mean([curve[:shortest] for curve in curves], axis=0)
                series.append(Series(method, mean[:, 0].tolist(), mean[:, 1].tolist()))
        if not series:
            return ()
        name = f"course-{self.key.replace('/', '-')}-{self.arm or 'all'}".replace(" ", "-")
        told = f" ({self.arm})" if self.arm else ""
        return (
            Drawn(
                name, self.title + told, f"{self.caption} Means over seeds, smoothed.", "step",
                self.y_title, tuple(series),
            ),
        )  # fmt: skip


@dataclass(frozen=True)
class ByLength:
    """Accuracy on held-out pairs by the difference of lengths, a series a method, a figure an arm.

    Args:
        arms: only these; all, if none is named.
    """

    arms: tuple[str, ...] = ()
    measure: str = "reward_accuracy"
    methods: tuple[str, ...] = field(default=())

    def draw(self, table: Table, knob: str) -> tuple[Drawn, ...]:
        """See `Plot`."""
        found = []
        for number, arm in enumerate(table.arms()):
            if self.arms and arm not in self.arms:
                continue
            chosen = [m for m in table.methods(arm) if not self.methods or m in self.methods]
            series = tuple(one for method in chosen if (one := self._series(table, method, arm)).x)
            if series:
                told = f" ({arm})" if arm else ""
                found.append(
                    Drawn(
                        f"by-length-{number}",
                        f"Is it right whichever response is longer?{told}",
                        "Held-out pairs labelled by the true score, in buckets of chosen length "
                        "less rejected length. A reward that is paid by length is right on the "
                        "right side only.",
                        "chosen tokens less rejected tokens",
                        "accuracy",
                        series,
                        level=0.5,
                    )
                )
        return tuple(found)

    def _series(self, table: Table, method: str, arm: str) -> Series:
        at: dict[float, list[float]] = {}
        for row in table.at(Point(method, BEST, arm)):
            for bucket in row.buckets:
                middle = (float(bucket["low"]) + float(bucket["high"])) / 2
                if bucket.get(self.measure) is not None:
                    at.setdefault(middle, []).append(float(bucket[self.measure]))
        x = sorted(at)
        found = [interval(at[place]) for place in x]
        return Series(
            method,
            x,
            [one.mean for one in found],
            [plain(one.low) for one in found],
            [plain(one.high) for one in found],
        )


def plain(value: float) -> float | None:
    """A number, or None for NaN."""
    return None if np.isnan(value) else float(value)


def _said(measure: str, knob: str) -> str:
    return knob if measure == "value" else WORDS.get(measure, measure.replace("_", " "))
