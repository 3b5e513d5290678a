"""From the losses of the pairs to one number, by the optimizer step's global counts.

Shapes: P pairs.
"""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from truing.core.knobs import Positive
from truing.core.needs import Needs
from truing.core.sides import Sides
from truing.objectives.margins import COUPLED
from truing.objectives.part import Part, part


@part
class Reduce(Part):
    """Makes a scalar of weighted losses."""

    @abstractmethod
    def __call__(
        self, losses: Float[Tensor, "P"], weights: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, ""]:
        """(P,) and (P,) to a scalar."""


@part
class Mean(Reduce):
    """Over all pairs of the step, whatever they weigh."""

    def __call__(
        self, losses: Float[Tensor, "P"], weights: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, ""]:
        """sum_i weight_i loss_i / P."""
        return (losses * weights).sum() / max(sides.view.counts.pairs, 1)


@part
class WeightedMean(Reduce):
    """Over what the pairs weigh (beta-DPO: over the selected pairs)."""

    def own_needs(self) -> Needs:
        """Couples the batch: the sum of weights is known only there."""
        return COUPLED

    def __call__(
        self, losses: Float[Tensor, "P"], weights: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, ""]:
        """sum_i weight_i loss_i / sum_i weight_i."""
        return (losses * weights).sum() / weights.sum().clamp(min=1e-12)


@part
class LogMeanExp(Reduce):
    """Pairs with a large loss count less, as if they were mislabelled (Dr.DPO).

    Args:
        temperature: towards infinity this is the mean.
    """

    temperature: Positive

    def own_needs(self) -> Needs:
        """Couples the batch."""
        return COUPLED

    def __call__(
        self, losses: Float[Tensor, "P"], weights: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, ""]:
        """-temperature * log mean_i exp(-weight_i loss_i / temperature)."""
        if not losses.shape[0]:
            return losses.sum()
        scaled = -losses * weights / self.temperature
        count = torch.tensor(float(losses.shape[0]), dtype=losses.dtype, device=losses.device)
        return -self.temperature * (torch.logsumexp(scaled, 0) - count.log())
