"""Losses of a pair's margin z: beta times the margin, minus the offset.

Shapes: P pairs. -log sigmoid(z) is softplus(-z), which never overflows.
"""

from abc import abstractmethod
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from truing.core.knobs import Interval, OpenFraction, Positive, Real
from truing.objectives.part import Part, part
from truing.objectives.stable import exp, softplus

Smoothing = Annotated[float, Interval(0.0, 0.5, is_high_open=True)]


@part
class MarginLoss(Part):
    """Maps margins to losses."""

    @abstractmethod
    def __call__(self, z: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """(P,) to (P,)."""


@part
class Logistic(MarginLoss):
    """-log sigmoid(z), with the share `smoothing` of the labels taken as flipped (cDPO)."""

    smoothing: Smoothing = 0.0

    def __call__(self, z: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """-(1 - e) log sigmoid(z) - e log sigmoid(-z)."""
        if self.smoothing == 0.0:
            return softplus(-z)
        return (1 - self.smoothing) * softplus(-z) + self.smoothing * softplus(z)


@part
class Unbiased(MarginLoss):
    """The logistic loss, unbiased where the share `flipped` of labels is wrong (robust DPO).

    Can be negative, and has no lower bound.
    """

    flipped: Smoothing

    def __call__(self, z: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """[-(1 - e) log sigmoid(z) + e log sigmoid(-z)] / (1 - 2e)."""
        kept = (1 - self.flipped) * softplus(-z)
        return (kept - self.flipped * softplus(z)) / (1 - 2 * self.flipped)


@part
class Hinge(MarginLoss):
    """max(0, at - z); no slope at z = at exactly."""

    at: Real = 1.0

    def __call__(self, z: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """relu(at - z)."""
        return torch.relu(self.at - z)


@part
class Squared(MarginLoss):
    """The squared distance from a target, in units of `unit`."""

    target: Real
    unit: Positive = 1.0

    def __call__(self, z: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """((z - target) / unit)^2."""
        return ((z - self.target) / self.unit) ** 2


@part
class Exponential(MarginLoss):
    """exp(-z), flat below z = -80."""

    def __call__(self, z: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """exp(-z)."""
        return exp(-z)


@part
class TruncatedSquare(MarginLoss):
    """max(0, 1 - z)^2."""

    def __call__(self, z: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """relu(1 - z)^2."""
        return torch.relu(1 - z) ** 2


@part
class Savage(MarginLoss):
    """1 / (1 + exp(z))^2: bounded, so that hopeless pairs stop pulling."""

    def __call__(self, z: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """sigmoid(-z)^2."""
        return torch.sigmoid(-z) ** 2


@part
class NegativeSilu(MarginLoss):
    """-z sigmoid(z) (SPO)."""

    def __call__(self, z: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """-z sigmoid(z)."""
        return -z * torch.sigmoid(z)


@part
class NegativeSigmoid(MarginLoss):
    """-sigmoid(z): the preference probability itself, not its log."""

    def __call__(self, z: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """-sigmoid(z)."""
        return -torch.sigmoid(z)


@part
class Saturating(MarginLoss):
    """1 - sigmoid(z): bounded on both ends (KTO, APO)."""

    def __call__(self, z: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """sigmoid(-z)."""
        return torch.sigmoid(-z)


@part
class Linear(MarginLoss):
    """-z."""

    def __call__(self, z: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """-z."""
        return -z


@part
class LogRatioModulated(MarginLoss):
    """Logistic for small margins, exponential for large ones (DiscoPOP); not convex near 0."""

    temperature: Positive

    def __call__(self, z: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """(1 - m) softplus(-z) + m exp(-z), m = sigmoid(z / temperature)."""
        scaled = z / self.temperature
        # m exp(-z) as one exponential: either factor alone overflows for large negative z.
        blended = exp(logsigmoid(scaled) - z)
        return torch.sigmoid(-scaled) * softplus(-z) + blended


@part
class ReverseKL(MarginLoss):
    """KL(q || p) of q = sigmoid(z) from the target p(chosen) = 1 - epsilon (EXO)."""

    epsilon: OpenFraction
    is_normalized: bool = True

    def __call__(self, z: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """q (log q - log p_chosen) + (1 - q) (log(1 - q) - log p_rejected).

        log p_chosen is log(1 - epsilon), or 0 where the target is not normalised.
        """
        epsilon = torch.as_tensor(self.epsilon, dtype=z.dtype, device=z.device)
        kept = torch.log1p(-epsilon) if self.is_normalized else torch.zeros_like(epsilon)
        chosen = torch.sigmoid(z) * (logsigmoid(z) - kept)
        return chosen + torch.sigmoid(-z) * (logsigmoid(-z) - epsilon.log())


@part
class Clipped(MarginLoss):
    """Another loss of the margin held within [-limit, limit]; no slope outside."""

    loss: MarginLoss
    limit: Positive

    def __call__(self, z: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """loss(clip(z, -limit, limit))."""
        return self.loss(z.clamp(-self.limit, self.limit))
