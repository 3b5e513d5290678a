"""Maps of one side's likelihood, applied to chosen and rejected sides apart.

Shapes: P pairs. Every link is the identity's equal at first order where its docstring says so.
"""

import math
from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from truing.core.knobs import Fraction, NonNegative, OpenFraction, Positive, Real
from truing.objectives.part import Part, part
from truing.objectives.stable import exp, expm1


@part
class Link(Part):
    """Maps likelihoods (nats) to what stands in the margin."""

    @abstractmethod
    def __call__(self, a: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """(P,) to (P,)."""


@part
class Same(Link):
    """The likelihood itself."""

    def __call__(self, a: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """a."""
        return a


@part
class Times(Link):
    """A share of the likelihood (DPO-Shift's rejected side)."""

    factor: NonNegative

    def __call__(self, a: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """factor * a."""
        return self.factor * a


@part
class PositivePart(Link):
    """max(0, a): only what lies above zero counts (MinorDPO's rejected side).

    Args:
        at_zero: the derivative at exactly 0, where every run begins whose reference is its start.
    """

    at_zero: Fraction = 1.0

    def __call__(self, a: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """max(0, a)."""
        return torch.where(a == 0, self.at_zero * a, a.clamp(min=0))


@part
class Penalized(Link):
    """a - weight * max(0, -a): falling below the reference costs more (DPOP's chosen side).

    Args:
        weight: of the penalty.
        at_zero: the derivative of max(0, -a) by -a at exactly 0.
    """

    weight: NonNegative
    at_zero: Fraction = 0.0

    def __call__(self, a: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """a - weight * max(0, -a)."""
        return a - self.weight * PositivePart(self.at_zero)(-a)


@part
class Chi2(Link):
    """gamma exp(a) + a: from chi-squared plus KL regularisation; slope 1 + gamma at 0.

    Args:
        gamma: weight of the chi-squared part.
        low: the exponent is held within [low, high]; outside, only the linear term has a slope.
        high: see low.
    """

    gamma: Positive = 1.0
    low: Real = -88.0
    high: Real = 20.0

    def __call__(self, a: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """Gamma exp(clip(a, low, high)) + a."""
        return self.gamma * a.clamp(self.low, self.high).exp() + a


@part
class Within(Link):
    """Another link held within [-limit, limit]; no slope outside."""

    link: Link
    limit: Positive

    def __call__(self, a: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """clip(link(a), -limit, limit)."""
        return self.link(a).clamp(-self.limit, self.limit)


@part
class ForwardKL(Link):
    """1 - exp(-a): f-DPO under the forward KL divergence; slope 1 at 0."""

    def __call__(self, a: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """1 - exp(-a)."""
        return -expm1(-a)


@part
class JensenShannon(Link):
    """log 2 + log sigmoid(a): f-DPO under the Jensen-Shannon divergence; slope 1/2 at 0."""

    def __call__(self, a: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """Log 2 + log sigmoid(a)."""
        return math.log(2.0) + torch.nn.functional.logsigmoid(a)


@part
class AlphaDivergence(Link):
    """(1 - exp(-alpha a)) / alpha: f-DPO between reverse KL (alpha 0) and forward KL (alpha 1)."""

    alpha: OpenFraction

    def __call__(self, a: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """(1 - exp(-alpha a)) / alpha; slope 1 at 0."""
        return -expm1(-self.alpha * a) / self.alpha


@part
class PowerReward(Link):
    """(1 - exp(-alpha a)) / alpha for any alpha but its limit a at 0 (AlphaPO)."""

    alpha: Real

    def __call__(self, a: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """(1 - exp(-alpha a)) / alpha; a where alpha is 0."""
        if self.alpha == 0.0:
            return a
        return -expm1(-self.alpha * a) / self.alpha


@part
class Exp(Link):
    """exp(a): the geometric mean probability of a token, where a is a token mean (SimPER)."""

    def __call__(self, a: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """exp(a)."""
        return exp(a)


@part
class LogOdds(Link):
    """log p / (1 - p) with p = exp(a), a < 0 (ORPO).

    a is held below -1e-6, where p rounds to 1 in float32.
    """

    def __call__(self, a: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
        """a - log(1 - exp(a))."""
        below = a.clamp(max=-1e-6)
        return below - torch.log(-torch.expm1(below))
