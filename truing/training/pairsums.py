"""Sums over the pairs of a step, of which shares and a correlation are made when it is whole."""

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from truing.core import View

# A correlation of fewer pairs, or of margins that differ by rounding alone, is noise.
LEAST_PAIRS = 4
LEAST_SPREAD = 1e-4


@dataclass(frozen=True)
class PairSums:
    """Of some pairs; those of micro-batches and ranks add up.

    m is a pair's margin of rewards (chosen less rejected), d its difference of lengths in tokens.
    `longer` counts pairs whose chosen side is longer, `right_longer` those of them with m > 0;
    `policy_right` those whose chosen side is likelier under the policy alone.
    """

    pairs: float = 0.0
    m: float = 0.0
    d: float = 0.0
    mm: float = 0.0
    dd: float = 0.0
    md: float = 0.0
    longer: float = 0.0
    right_longer: float = 0.0
    shorter: float = 0.0
    right_shorter: float = 0.0
    policy_right: float = 0.0

    def __add__(self, other: "PairSums") -> "PairSums":
        """Sums over both."""
        return PairSums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(PairSums)))

    @staticmethod
    def of(view: View, rewards: Float[Tensor, "P 2"] | None) -> "PairSums":
        """Sums over a view's pairs; nothing where the objective has no rewards."""
        if rewards is None or not view.num_pairs:
            return PairSums()
        sides = view.sides
        logp, other = sides.halves(sides.totals(view.policy.detach()))
        margin = (rewards[:, 0] - rewards[:, 1]).double()
        chosen, rejected = sides.halves(sides.lengths)
        gap = (chosen - rejected).double()
        right = margin > 0
        table = [
            torch.ones_like(gap),
            margin,
            gap,
            margin * margin,
            gap * gap,
            margin * gap,
            gap > 0,
            right & (gap > 0),
            gap < 0,
            right & (gap < 0),
            logp > other,
        ]
        return PairSums(*(torch.stack([column.double().sum() for column in table]).tolist()))

    def metrics(self) -> dict[str, float]:
        """What the sums say; a number that is not defined is left out.

        `policy_accuracy`: share of pairs whose chosen side is likelier, without the reference.
        `rewards/accuracies_longer` and `_shorter`: reward accuracy where the chosen side is the
        longer or the shorter one. `rewards/length_correlation`: of m and d over the pairs.
        """
        if not self.pairs:
            return {}
        found = {"policy_accuracy": self.policy_right / self.pairs}
        for name in ("longer", "shorter"):
            if count := getattr(self, name):
                found[f"rewards/accuracies_{name}"] = getattr(self, f"right_{name}") / count
        correlation = self._correlation()
        if correlation is not None:
            found["rewards/length_correlation"] = correlation
        return found

    def _correlation(self) -> float | None:
        count = self.pairs
        if count < LEAST_PAIRS:
            return None
        of_m = self.mm / count - (self.m / count) ** 2
        of_d = self.dd / count - (self.d / count) ** 2
        if min(of_m, of_d) < LEAST_SPREAD**2:
            return None
        both = self.md / count - self.m * self.d / count**2
        return min(1.0, max(-1.0, both / math.sqrt(of_m * of_d)))
