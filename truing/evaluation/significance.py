"""Is a difference more than noise, and how many differences were looked at?

P prompts or pairs that two runs share. The tests know the noise of the prompts alone: two runs
of one recipe with other seeds differ too, and only several seeds a recipe can show by how much.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from truing.evaluation.bootstrap import (
    CONFIDENCE,
    Array,
    Estimate,
    Mean,
    estimate,
    resampled_sums,
)

Test = Literal["paired bootstrap", "McNemar"]
LEVEL = 0.05
_MOST_RESAMPLES = 10_000
_MOST_DRAWS = 40_000_000  # resamples times groups: some seconds
_FEWEST = 10  # resamples beyond 0 from which their share is a p


@dataclass(frozen=True)
class Difference:
    """One measure of one run less that of another.

    `p` is two-sided; `p_corrected` is Holm's over all comparisons of the same family (set by
    `corrected`), and only that one may be called significant.
    """

    measure: str
    run: str
    other: str
    difference: Estimate
    test: Test
    p: float
    p_corrected: float = np.nan
    family: int = 1
    """How many comparisons the correction was told of."""

    @property
    def is_significant(self) -> bool:
        """Whether the corrected p lies under 0.05."""
        return self.p_corrected < LEVEL

    def to_json(self) -> dict[str, object]:
        """Plain numbers."""
        numbers = {"p": self.p, "p_corrected": self.p_corrected}
        return {
            **{"measure": self.measure, "run": self.run, "other": self.other},
            **self.difference.to_json("difference"),
            "number": self.difference.number,
            "test": self.test,
            **{name: None if np.isnan(value) else value for name, value in numbers.items()},
            "comparisons": self.family,
            "significant": self.is_significant,
        }


def paired_bootstrap(
    names: tuple[str, str, str],
    values: Float[Array, "P"],
    others: Float[Array, "P"],
    groups: Int[Array, "P"] | None = None,
    *,
    seed: int = 0,
) -> Difference:
    """Difference of two means over the same rows; rows of one group are drawn together.

    p is twice the smaller share of resampled differences on either side of 0, one added above and
    below (Davison and Hinkley 1997, section 4.2). That share cannot fall under 1 / resamples,
    which many comparisons corrected together could never pass: where fewer than ten resamples lie
    beyond 0, p is that of Student's t with the bootstrap's standard error. Where every group has
    the same difference there is nothing to resample: p is 1 if it is 0, and undefined else.

    Args:
        names: the measure, the run, the other run.
        values: of the run.
        others: of the other run, row by row.
        groups: which rows belong together.
        seed: of the resamples.
    """
    gain = Mean(np.asarray(values, float) - np.asarray(others, float))
    count = len(values) if groups is None else len(np.unique(groups))
    resamples = int(np.clip(_MOST_DRAWS // max(count, 1), 1000, _MOST_RESAMPLES))
    value = float(gain.values.mean())
    spread = gain.of_sums(resampled_sums(gain.columns(), groups, resamples=resamples, seed=seed))
    known = spread[np.isfinite(spread)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (np.nan, np.nan)
    found = Estimate(value, float(low), float(high), len(gain.values))
    return Difference(*names, found, "paired bootstrap", _two_sided(value, known, count))


def _two_sided(value: float, resampled: Float[Array, "B"], count: int) -> float:
    """p of a difference, given resampled ones of `count` groups."""
    error = float(resampled.std(ddof=1)) if len(resampled) else 0.0
    # Rounding leaves equal differences with a spread of about 1e-16 of their size.
    if error <= 1e-12 * abs(value):
        return 1.0 if value == 0 else np.nan
    least = int(min((resampled <= 0).sum(), (resampled >= 0).sum()))
    if least < _FEWEST:
        return float(2 * stats.t.sf(abs(value) / error, count - 1))
    return min(1.0, 2 * (least + 1) / (len(resampled) + 1))


def mcnemar(
    names: tuple[str, str, str],
    hits: Bool[Array, "P"],
    others: Bool[Array, "P"],
    groups: Int[Array, "P"] | None = None,
    *,
    seed: int = 0,
) -> Difference:
    """Difference of two shares over the same rows, by the rows on which the runs disagree.

    Exact (binomial) test where at most 1000 rows disagree, the corrected chi-square beyond. It
    takes rows to be independent: where prompts hold several rows, the paired bootstrap over
    prompts is taken instead, and `test` says so.
    """
    if groups is not None and len(np.unique(groups)) < len(groups):
        return paired_bootstrap(names, hits.astype(float), others.astype(float), groups, seed=seed)
    from statsmodels.stats.contingency_tables import mcnemar as of_table

    table = [
        [int((hits & others).sum()), int((hits & ~others).sum())],
        [int((~hits & others).sum()), int((~hits & ~others).sum())],
    ]
    gain = Mean(hits.astype(float) - others.astype(float))
    found = estimate({"gain": gain}, groups, seed=seed)["gain"]
    apart = table[0][1] + table[1][0]
    tested: Any = of_table(table, exact=apart <= 1000) if apart else None
    p = 1.0 if tested is None else float(tested.pvalue)
    return Difference(*names, found, "McNemar", min(1.0, p))


def corrected(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """All of them as one family, corrected by Holm's step-down method (Holm 1979).

    The chance that any of them is called significant without a difference stays under 0.05.
    Those whose p is undefined are not counted.
    """
    from statsmodels.stats.multitest import multipletests

    known = [one for one in differences if not np.isnan(one.p)]
    if not known:
        return tuple(differences)
    tested: Any = multipletests([one.p for one in known], alpha=LEVEL, method="holm")
    adjusted = iter(tested[1])
    return tuple(
        one
        if np.isnan(one.p)
        else replace(one, p_corrected=float(next(adjusted)), family=len(known))
        for one in differences
    )
