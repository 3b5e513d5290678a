"""A number with its interval: every statistic of a table resampled at once.

P rows of a table (pairs or responses), G groups of rows that are resampled together (the rows of
one prompt are not independent), C columns, B resamples.

A statistic here is a function of column sums: a mean is one sum over another, a correlation a
function of six. So one resample of the groups serves every statistic of the table, and buckets
and differences cost a column each: 100,000 pairs take seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse, stats

Array = np.ndarray

RESAMPLES = 1000
CONFIDENCE = 0.95
_CELLS_AT_ONCE = 4_000_000  # resampled indices held in memory together: 32 MB


@dataclass(frozen=True)
class Estimate:
    """A statistic, its interval, and how many rows it rests on.

    NaN stands for what is not defined (a mean over nothing, an interval from one prompt).
    """

    value: float
    low: float
    high: float
    number: int

    def to_json(self, name: str) -> dict[str, float | None]:
        """`{name, name_low, name_high}` as plain numbers; None where undefined."""
        values = {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}
        return {key: None if np.isnan(value) else float(value) for key, value in values.items()}


class Statistic(Protocol):
    """Something that depends on a table only through sums of columns."""

    @property
    def is_share(self) -> bool:
        """Whether it is a share of rows, between 0 and 1."""
        ...

    def columns(self) -> Float[Array, "P C"]:
        """What has to be summed; the first column counts the rows that take part."""
        ...

    def of_sums(self, sums: Float[Array, "*B C"]) -> Float[Array, "*B"]:
        """The statistic, given the sums of the columns."""
        ...


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean of `values` over the rows marked by `where` (all, if None).

    `is_share` says that the values are 0, 1 or, for a tie, one half.
    """

    values: Float[Array, "P"]
    where: Bool[Array, "P"] | None = None
    is_share: bool = False

    def columns(self) -> Float[Array, "P 2"]:
        """Rows that take part, and their values."""
        part = np.ones(len(self.values)) if self.where is None else self.where.astype(float)
        return np.stack([part, self.values * part], axis=1)

    def of_sums(self, sums: Float[Array, "*B 2"]) -> Float[Array, "*B"]:
        """Sum over count."""
        return _ratio(sums[..., 1], sums[..., 0])


@dataclass(frozen=True, eq=False)
class RatioOfSums:
    """The sum of one column over the sum of another (a mean over tokens, say)."""

    over: Float[Array, "P"]
    under: Float[Array, "P"]
    is_share: bool = False

    def columns(self) -> Float[Array, "P 3"]:
        """The count, and both columns."""
        return np.stack([np.ones(len(self.over)), self.over, self.under], axis=1)

    def of_sums(self, sums: Float[Array, "*B 3"]) -> Float[Array, "*B"]:
        """One sum over the other."""
        return _ratio(sums[..., 1], sums[..., 2])


@dataclass(frozen=True, eq=False)
class Correlation:
    """Pearson's correlation of two columns; a row may hold several points (its two sides)."""

    first: Float[Array, "P K"]
    second: Float[Array, "P K"]
    is_share: bool = False

    def columns(self) -> Float[Array, "P 6"]:
        """Number of points, and the first and second moments about the means of the table."""
        # Centred by the table's own mean: the variance is then no difference of large numbers.
        one, other = (self.first - self.first.mean(), self.second - self.second.mean())
        points = np.ones_like(one)
        moments = (points, one, other, one * one, other * other, one * other)
        return np.stack([moment.reshape(len(one), -1).sum(axis=1) for moment in moments], axis=1)

    def of_sums(self, sums: Float[Array, "*B 6"]) -> Float[Array, "*B"]:
        """Covariance over the root of both variances; NaN where one of them does not vary."""
        count, one, other, one_one, other_other, both = np.moveaxis(sums, -1, 0)
        varies = one_one - _ratio(one**2, count)
        other_varies = other_other - _ratio(other**2, count)
        spread = np.sqrt(np.clip(varies, 0, None) * np.clip(other_varies, 0, None))
        # Rounding leaves a constant column with a spread of about 1e-16 of its moments.
        spread = np.where(spread <= 1e-12 * np.sqrt(one_one * other_other), 0.0, spread)
        return np.clip(_ratio(both - _ratio(one * other, count), spread), -1.0, 1.0)


@dataclass(frozen=True, eq=False)
class CalibrationError:
    """Expected calibration error: mean over rows of |share correct - mean confidence| of its bin.

    Source: Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning".
    """

    confidence: Float[Array, "P"]
    correct: Float[Array, "P"]
    bin_of_row: Int[Array, "P"]
    num_bins: int
    is_share: bool = False

    def columns(self) -> Float[Array, "P C"]:
        """The count, and per bin what its confidence exceeds its share of correct rows by."""
        excess = np.zeros((len(self.confidence), 1 + self.num_bins))
        excess[:, 0] = 1.0
        rows = np.arange(len(self.confidence))
        excess[rows, 1 + self.bin_of_row] = self.confidence - self.correct
        return excess

    def of_sums(self, sums: Float[Array, "*B C"]) -> Float[Array, "*B"]:
        """Sum of the bins' absolute excess over the count."""
        return _ratio(np.abs(sums[..., 1:]).sum(axis=-1), sums[..., 0])


def estimate(
    statistics: Mapping[str, Statistic],
    groups: Int[Array, "P"] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Each statistic with its 95 % percentile bootstrap interval; whole groups are resampled.

    A share that is 0 or 1 in the whole table would get an interval of no width, because no
    resample can differ from it: there the exact binomial bound over groups is taken instead.

    Args:
        statistics: by name; all over the same P rows.
        groups: which rows belong together; None: each row stands alone.
        resamples: B.
        seed: the same seed gives the same intervals.
    """
    parts = [statistic.columns() for statistic in statistics.values()]
    table = np.concatenate(parts, axis=1)
    if groups is not None:
        table = _sum_by_group(table, groups)
    borders = np.cumsum([part.shape[1] for part in parts])[:-1]
    cut = [slice(a, b) for a, b in zip([0, *borders], [*borders, table.shape[1]], strict=True)]

    def of_sums(sums: Float[Array, "*B C"]) -> Float[Array, "S *B"]:
        pieces = zip(statistics.values(), cut, strict=True)
        return np.stack([statistic.of_sums(sums[..., piece]) for statistic, piece in pieces])

    values = of_sums(table.sum(axis=0))
    spread = of_sums(resampled_sums(table, None, resamples=resamples, seed=seed))
    low, high = _percentiles(spread)
    found: dict[str, Estimate] = {}
    for index, (name, statistic) in enumerate(statistics.items()):
        counts = table[:, cut[index].start]
        interval = (low[index], high[index])
        if statistic.is_share and values[index] in (0.0, 1.0):
            interval = _exact_interval(float(values[index]), int((counts > 0).sum()))
        elif np.isnan(values[index]) or (counts > 0).sum() < 2:
            interval = (np.nan, np.nan)  # one group, drawn as often as one likes, says no more
        value, bounds = float(values[index]), (float(interval[0]), float(interval[1]))
        found[name] = Estimate(value, *bounds, int(counts.sum()))
    return found


def resampled_sums(
    table: Float[Array, "P C"], groups: Int[Array, "P"] | None, *, resamples: int, seed: int
) -> Float[Array, "B C"]:
    """Sums of the columns in each resample; whole groups are drawn. NaN where there is one only."""
    if groups is not None:
        table = _sum_by_group(table, groups)
    rows, columns = table.shape
    if rows < 2:
        return np.full((resamples, columns), np.nan)

    def sums(drawn_rows: Int[Array, "B G"], axis: int = -1) -> Float[Array, "C B"]:
        # How often each row was drawn, times the table: one matrix product for all statistics.
        drawn = np.stack([np.bincount(row, minlength=rows) for row in drawn_rows]).astype(float)
        return (drawn @ table).T

    result = stats.bootstrap(
        (np.arange(rows),),
        sums,
        n_resamples=resamples,
        batch=max(1, _CELLS_AT_ONCE // rows),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return result.bootstrap_distribution.T


def _percentiles(spread: Float[Array, "S B"]) -> tuple[Float[Array, "S"], Float[Array, "S"]]:
    """Bounds of the middle 95 %; a resample that misses a small bucket (NaN) does not count."""
    unknown = np.all(np.isnan(spread), axis=1, keepdims=True)
    tail = (1 - CONFIDENCE) / 2
    bounds = np.nanquantile(np.where(unknown, 0.0, spread), [tail, 1 - tail], axis=1)
    bounds[:, unknown[:, 0]] = np.nan
    return bounds[0], bounds[1]


def _exact_interval(value: float, number: int) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share that is 0 or 1 of `number` groups."""
    found = stats.binomtest(round(value * number), number).proportion_ci(CONFIDENCE, "exact")
    return float(found.low), float(found.high)


def _sum_by_group(table: Float[Array, "P C"], groups: Int[Array, "P"]) -> Float[Array, "G C"]:
    names, of_row = np.unique(groups, return_inverse=True)
    ones = np.ones(len(table))
    membership = sparse.csr_array(
        (ones, (of_row, np.arange(len(table)))), shape=(len(names), len(table))
    )
    return membership @ table


def _ratio(over: Float[Array, "*B"], under: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """NaN where the lower one is 0, without a warning."""
    over, under = np.broadcast_arrays(np.asarray(over, float), np.asarray(under, float))
    return np.divide(over, under, out=np.full(over.shape, np.nan), where=under != 0)
