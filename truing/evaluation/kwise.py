"""Do the rewards order K responses of a prompt as the scores do?

N responses of G prompts.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from truing.evaluation.bootstrap import RESAMPLES, Array, Estimate, Mean, estimate
from truing.evaluation.pairs import check_columns


def rank_correlation(
    reward: Float[Array, "N"],
    score: Float[Array, "N"],
    prompt: Int[Array, "N"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Mean over prompts of Kendall's tau-b between rewards and scores, with its interval.

    Prompts on which tau is undefined (one response, or all rewards or all scores equal) are left
    out; `number` counts those that are in. NaN where none is left.

    Raises:
        RowError: columns of different lengths, no row, a value that is not finite.
    """
    check_columns({"reward": reward, "score": score, "prompt": prompt}, "table of responses")
    order = np.argsort(prompt, kind="stable")
    borders = np.flatnonzero(np.diff(prompt[order])) + 1
    taus = [
        _tau(reward[rows], score[rows])
        for rows in np.split(order, borders)
        if np.ptp(reward[rows]) > 0 and np.ptp(score[rows]) > 0
    ]
    if not taus:
        return Estimate(np.nan, np.nan, np.nan, 0)
    return estimate({"tau": Mean(np.array(taus))}, resamples=resamples, seed=seed)["tau"]


def _tau(reward: Float[Array, "K"], score: Float[Array, "K"]) -> float:
    found: Any = stats.kendalltau(reward, score)  # scipy's own annotation knows no fields
    return float(found.statistic)
