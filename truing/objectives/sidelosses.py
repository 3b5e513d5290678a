"""Losses of both sides of a pair apart: each has its own target, the margin alone says too little.

Shapes: P pairs. `chosen` and `rejected` are beta times the linked likelihoods (rewards).
"""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from truing.core.knobs import NonNegative, Positive
from truing.core.needs import Needs
from truing.core.sides import Sides
from truing.objectives.anchors import RunningMean
from truing.objectives.margins import COUPLED
from truing.objectives.part import Part, part
from truing.objectives.stable import softplus


@part
class SideLoss(Part):
    """Maps the rewards of both sides to a loss; knows no offset."""

    @abstractmethod
    def __call__(
        self, chosen: Float[Tensor, "P"], rejected: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """(P,) and (P,) to (P,)."""


@part
class NoiseContrast(SideLoss):
    """Up with the chosen side, both held down: NCA with a hard label."""

    def __call__(
        self, chosen: Float[Tensor, "P"], rejected: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """-log sigmoid(w) - 1/2 log sigmoid(-w) - 1/2 log sigmoid(-l)."""
        return softplus(-chosen) + 0.5 * softplus(chosen) + 0.5 * softplus(rejected)


@part
class Classified(SideLoss):
    """Each side is classified against a shift (BCO).

    Args:
        unit: beta, by which the shift is multiplied.
        shift: the running mean of all log-ratios so far; None: 0, as TRL 1.16 has it.
    """

    unit: Positive
    shift: RunningMean | None = None

    def __call__(
        self, chosen: Float[Tensor, "P"], rejected: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """-log sigmoid(w - d) - log sigmoid(d - l), d = unit * shift."""
        shift = 0.0 if self.shift is None else self.unit * self.shift.value(sides)
        return softplus(shift - chosen) + softplus(rejected - shift)


@part
class WinRate(SideLoss):
    """Each side's reward goes to its win rate minus one half (SPPO).

    Args:
        unit: what squared distances are measured in; beta, so that they are in nats.
        share: 1/2: the mean of both sides (authors); 1: their sum (TRL's sppo_hard).
        is_hard: chosen wins always, rejected never, whatever the data says.
        is_single: the rejected side's win rate is taken as what the chosen one's leaves.
    """

    unit: Positive
    share: Positive = 0.5
    is_hard: bool = False
    is_single: bool = False

    def own_needs(self) -> Needs:
        """Win probabilities, unless they are hard."""
        return Needs(win_probability=not self.is_hard)

    def __call__(
        self, chosen: Float[Tensor, "P"], rejected: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """share * [((w - (P_w - 1/2)) / unit)^2 + ((l - (P_l - 1/2)) / unit)^2]."""
        up, down = torch.full_like(chosen, 0.5), torch.full_like(rejected, -0.5)
        if not self.is_hard:
            wins = sides.view.need("win_probability").detach().to(chosen.dtype)
            up, down = sides.halves(wins[sides.response] - 0.5)
        if self.is_single:
            down = -up
        return self.share * (
            ((chosen - up) / self.unit) ** 2 + ((rejected - down) / self.unit) ** 2
        )


@part
class AnchoredZero(SideLoss):
    """Chosen above the reference, rejected below it (APO-zero)."""

    def __call__(
        self, chosen: Float[Tensor, "P"], rejected: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """(1 - sigmoid(w)) + sigmoid(l)."""
        return torch.sigmoid(-chosen) + torch.sigmoid(rejected)


@part
class AnchoredDown(SideLoss):
    """Both below the reference, rejected further (APO-down)."""

    def __call__(
        self, chosen: Float[Tensor, "P"], rejected: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """sigmoid(w) + (1 - sigmoid(w - l))."""
        return torch.sigmoid(chosen) + torch.sigmoid(rejected - chosen)


@part
class Calibrated(SideLoss):
    """The logistic loss on nats, and each side's reward drawn to +-1/2 (Cal-DPO).

    The first term has no beta: it is taken off again by `unit`, which is beta.
    """

    unit: Positive

    def __call__(
        self, chosen: Float[Tensor, "P"], rejected: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """-log sigmoid((w - l) / u) + ((w - 1/2) / u)^2 + ((l + 1/2) / u)^2."""
        targets = ((chosen - 0.5) / self.unit) ** 2 + ((rejected + 0.5) / self.unit) ** 2
        return softplus((rejected - chosen) / self.unit) + targets


@part
class Constrained(SideLoss):
    """The logistic loss, and what one side gains the other must lose (C2-DPO)."""

    weight: NonNegative
    unit: Positive

    def __call__(
        self, chosen: Float[Tensor, "P"], rejected: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """-log sigmoid(w - l) + weight * ((w + l) / unit)^2."""
        return softplus(rejected - chosen) + self.weight * ((chosen + rejected) / self.unit) ** 2


@part
class CrossAnchored(SideLoss):
    """Each half of the batch is the other's anchor, with gradient through it (KTO-pair)."""

    def own_needs(self) -> Needs:
        """Couples the batch."""
        return COUPLED

    def __call__(
        self, chosen: Float[Tensor, "P"], rejected: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """Half of (1 - sigmoid(w - z_l)) + (1 - sigmoid(z_w - l)), z = max(0, mean of a half)."""
        of_chosen, of_rejected = chosen.mean().clamp(min=0), rejected.mean().clamp(min=0)
        return 0.5 * (torch.sigmoid(of_rejected - chosen) + torch.sigmoid(rejected - of_chosen))
