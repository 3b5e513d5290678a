"""Several references become one: after pooling, never with a gradient.

Shapes: R references, S = 2P sides. The base is the reference at index 0 (the policy's own start),
the others are extra.
"""

from abc import abstractmethod
from typing import Annotated

from jaxtyping import Float
from torch import Tensor

from truing.core.knobs import Interval
from truing.core.needs import Needs
from truing.core.sides import Sides
from truing.objectives.part import Part, part

Index = Annotated[int, Interval(low=0)]


@part
class Combine(Part):
    """Maps the likelihoods under R references to one."""

    @abstractmethod
    def __call__(self, references: Float[Tensor, "R S"], sides: Sides) -> Float[Tensor, "S"]:
        """(R, S) nats to (S,) nats."""


@part
class One(Combine):
    """The reference at this index alone."""

    index: Index = 0

    def own_needs(self) -> Needs:
        """As many references as the index asks for."""
        return Needs(reference="sums", references=self.index + 1)

    def __call__(self, references: Float[Tensor, "R S"], sides: Sides) -> Float[Tensor, "S"]:
        """Row `index`."""
        return references[self.index]
