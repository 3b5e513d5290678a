"""From the sum over a side's tokens to its likelihood: as it is, or by length.

Shapes: S sides. Dividing never looks at token weights: a subset's sum is divided by the full length
(as SamPO's released code does under IPO).
"""

from abc import abstractmethod

from jaxtyping import Float
from torch import Tensor

from truing.core.sides import Sides
from truing.objectives.part import Part, part


@part
class Pool(Part):
    """Maps sums over the tokens of sides to likelihoods."""

    @abstractmethod
    def __call__(self, sums: Float[Tensor, "*R S"], sides: Sides) -> Float[Tensor, "*R S"]:
        """Nats to nats, (S,) to (S,)."""


@part
class TokenSum(Pool):
    """The sum itself."""

    def __call__(self, sums: Float[Tensor, "*R S"], sides: Sides) -> Float[Tensor, "*R S"]:
        """sum_t u_t."""
        return sums


@part
class TokenMean(Pool):
    """The mean over the side's tokens, its end token counted."""

    def __call__(self, sums: Float[Tensor, "*R S"], sides: Sides) -> Float[Tensor, "*R S"]:
        """sum_t u_t / |y|; |y| is at least 1."""
        return sums / sides.lengths.clamp(min=1)


@part
class PairMean(Pool):
    """The token mean times the mean length of the pair's two sides: both sides weigh as long."""

    def __call__(self, sums: Float[Tensor, "*R S"], sides: Sides) -> Float[Tensor, "*R S"]:
        """sum_t u_t / |y| * (|y_chosen| + |y_rejected|) / 2."""
        together = sides.lengths + sides.partner_lengths
        return sums * together / (2 * sides.lengths.clamp(min=1))
