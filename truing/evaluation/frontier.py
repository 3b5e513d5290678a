"""Reward against KL: which runs give the most for how far they went?

R runs, each a point; methods may have several runs (strengths, seeds). A run is on the frontier
if no other has at least its score at no more KL, and is better in one of the two. A method's
Pareto share is the share of the frontier's points that are its runs (Amini et al. 2024,
arXiv:2402.10571: the measure by which ODPO is compared); chance would give it its share of all
runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from truing.evaluation.bootstrap import (
    CONFIDENCE,
    RESAMPLES,
    Array,
    Estimate,
    Mean,
    estimate,
    resampled_sums,
)


@dataclass(frozen=True, eq=False)
class Measured:
    """One run's responses to prompts that all runs share, a mean a prompt.

    Args:
        run: its name.
        method: what it is counted under.
        score: mean score of its responses to each of P prompts.
        kl: mean low-variance estimate of the sequence KL of these (nats).
    """

    run: str
    method: str
    score: Float[Array, "P"]
    kl: Float[Array, "P"]


@dataclass(frozen=True)
class FrontierPoint:
    """A run's place; `chance` is the share of resamples that have it on the frontier.

    From one prompt nothing can be drawn anew: `chance` is NaN.
    """

    run: str
    method: str
    kl: Estimate
    score: Estimate
    is_on: bool
    chance: float

    def to_json(self) -> dict[str, object]:
        """Plain numbers."""
        place = {**self.kl.to_json("kl"), **self.score.to_json("score")}
        return {
            **{"run": self.run, "method": self.method, **place},
            "on_frontier": self.is_on,
            "on_frontier_in_resamples": None if np.isnan(self.chance) else self.chance,
        }


@dataclass(frozen=True)
class Frontier:
    """All points, and each method's share of the frontier with its bootstrap interval."""

    points: tuple[FrontierPoint, ...]
    shares: Mapping[str, Estimate]

    def to_json(self) -> dict[str, object]:
        """Plain numbers."""
        shares = [
            {
                **{"method": name, "runs": share.number},
                "share_of_runs": share.number / len(self.points),
                **share.to_json("pareto_share"),
            }
            for name, share in self.shares.items()
        ]
        return {"points": [point.to_json() for point in self.points], "shares": shares}


def on_frontier(kl: Float[Array, "R"], score: Float[Array, "R"]) -> Bool[Array, "R"]:
    """True where no other point has at most this KL and at least this score, one of them better."""
    no_worse = (kl[:, None] <= kl) & (score[:, None] >= score)
    better = (kl[:, None] < kl) | (score[:, None] > score)
    return np.asarray(~(no_worse & better).any(axis=0))


def frontier(runs: Sequence[Measured], *, resamples: int = RESAMPLES, seed: int = 0) -> Frontier:
    """Points, frontier and Pareto shares; prompts are drawn anew for all runs together.

    The intervals know the noise of prompts and samples, not that of training: they say how sure
    the shares of these runs are, not those of other seeds.
    """
    names = [one.run for one in runs]
    statistics = {}
    for one in runs:
        statistics |= {f"kl {one.run}": Mean(one.kl), f"score {one.run}": Mean(one.score)}
    found = estimate(statistics, resamples=resamples, seed=seed)
    columns = np.stack([values for one in runs for values in (one.kl, one.score)], axis=1)
    sums = resampled_sums(columns, None, resamples=resamples, seed=seed) / len(columns)
    kl, score = columns[:, ::2].mean(axis=0), columns[:, 1::2].mean(axis=0)
    is_on = on_frontier(kl, score)
    drawn = np.array([on_frontier(row[::2], row[1::2]) for row in sums])
    drawn = np.where(np.isnan(sums[:, ::2]), np.nan, drawn)
    points = tuple(
        FrontierPoint(
            name,
            one.method,
            found[f"kl {name}"],
            found[f"score {name}"],
            bool(is_on[i]),
            float(drawn[:, i].mean()),
        )
        for i, (name, one) in enumerate(zip(names, runs, strict=True))
    )
    tail = (1 - CONFIDENCE) / 2
    shares = {}
    for method in dict.fromkeys(one.method for one in runs):
        mine = np.array([one.method == method for one in runs])
        of_drawn = drawn[:, mine].sum(axis=1) / drawn.sum(axis=1)
        low, high = np.quantile(of_drawn, [tail, 1 - tail])
        value = float(mine[is_on].mean())
        shares[method] = Estimate(value, float(low), float(high), int(mine.sum()))
    return Frontier(points, shares)
