"""What a margin must exceed. Offsets carry no gradient unless their docstring says so.

Shapes: P pairs, S = 2P sides.
"""

from abc import abstractmethod
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from truing.core.knobs import NonNegative, Real
from truing.core.needs import Needs, ScoreNeed
from truing.core.sides import Sides
from truing.errors import NeedsError
from truing.objectives.part import Part, part


@part
class Offset(Part):
    """One number a pair, taken off the margin."""

    @abstractmethod
    def __call__(self, sides: Sides) -> Float[Tensor, "P"]:
        """(P,)."""


@part
class Zero(Offset):
    """Nothing is taken off."""

    def __call__(self, sides: Sides) -> Float[Tensor, "P"]:
        """0."""
        return sides.view.policy.new_zeros(sides.count // 2)


@part
class Constant(Offset):
    """The same for every pair (SimPO's gamma)."""

    value: Real

    def __call__(self, sides: Sides) -> Float[Tensor, "P"]:
        """value."""
        return sides.view.policy.new_full((sides.count // 2,), self.value)


@part
class ScoreGap(Offset):
    """weight * f of the two scores (ODPO).

    Args:
        weight: offset per unit of f.
        scale: f. "log": log(s_chosen - s_rejected), which needs s_chosen > s_rejected and is
            negative where the gap is below 1; "identity": the gap; "logratio":
            log(s_chosen / s_rejected) of positive scores, which needs s_chosen > s_rejected too.
    """

    weight: Real = 1.0
    scale: Literal["log", "identity", "logratio"] = "log"

    def own_needs(self) -> Needs:
        """Scores, as ordered as f wants them."""
        kinds: dict[str, ScoreNeed] = {"log": "ordered", "identity": "any", "logratio": "positive"}
        return Needs(scores=kinds[self.scale])

    def __call__(self, sides: Sides) -> Float[Tensor, "P"]:
        """weight * f(s_chosen, s_rejected)."""
        scores = sides.view.need("scores").detach()[sides.response].to(sides.view.policy.dtype)
        return self.weight * _SCALES[self.scale](*sides.halves(scores))


def _log(chosen: Tensor, rejected: Tensor) -> Tensor:
    return torch.log(_above(chosen - rejected, "the chosen response has no higher score", chosen))


def _identity(chosen: Tensor, rejected: Tensor) -> Tensor:
    return chosen - rejected


def _log_ratio(chosen: Tensor, rejected: Tensor) -> Tensor:
    both = torch.minimum(chosen, rejected)
    _above(both, "a score is not greater than 0", both)
    _above(chosen - rejected, "the chosen response has no higher score", chosen)
    return torch.log(chosen / rejected)


_SCALES = {"log": _log, "identity": _identity, "logratio": _log_ratio}


def _above(values: Tensor, what: str, scores: Tensor) -> Tensor:
    """The values, all of them above 0."""
    wrong = torch.nonzero(values <= 0)[:, 0]
    if wrong.shape[0]:
        pair = int(wrong[0])
        raise NeedsError(
            f"{what} (score {float(scores[pair]):g})",
            where=f"pair {pair}, scores",
            fix='leave the pair out, or use odpo(scale="identity")',
        )
    return values


@part
class LengthGap(Offset):
    """weight * (|y_rejected| - |y_chosen|): a longer chosen side has less to prove (R-DPO)."""

    weight: NonNegative

    def __call__(self, sides: Sides) -> Float[Tensor, "P"]:
        """weight * (|y_rejected| - |y_chosen|)."""
        chosen, rejected = sides.halves(sides.lengths.to(sides.view.policy.dtype))
        return self.weight * (rejected - chosen)


@part
class DivergenceGap(Offset):
    """weight * (D_rejected - D_chosen), D the sum over positions of KL(reference || policy) (TDPO).

    The gradient flows through D of the rejected side, and through the chosen one's unless detached.
    """

    weight: NonNegative
    is_chosen_detached: bool = True

    def own_needs(self) -> Needs:
        """The KL of every position, from a reference that runs at every step."""
        return Needs(
            vocabulary_statistics=frozenset({"kl_pos"}),
            live_reference=True,
            reference="sums",
            references=1,
        )

    def __call__(self, sides: Sides) -> Float[Tensor, "P"]:
        """weight * (D_rejected - D_chosen)."""
        chosen, rejected = sides.halves(sides.totals(sides.view.statistic("kl_pos")))
        return self.weight * (rejected - (chosen.detach() if self.is_chosen_detached else chosen))
