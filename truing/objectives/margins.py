"""From the two linked sides of a pair to its margin, before beta.

Shapes: P pairs.
"""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from truing.core.needs import Needs
from truing.core.sides import Sides
from truing.objectives.likelihoods import PolicyLogp
from truing.objectives.part import Part, part

COUPLED = Needs(couples="batch")
"""What every part reads that acts across the pairs of an optimizer step."""


@part
class Margin(Part):
    """Maps chosen and rejected values to one margin a pair."""

    @abstractmethod
    def __call__(
        self, chosen: Float[Tensor, "P"], rejected: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """(P,) and (P,) to (P,)."""


@part
class Difference(Margin):
    """Chosen minus rejected."""

    def __call__(
        self, chosen: Float[Tensor, "P"], rejected: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """chosen - rejected."""
        return chosen - rejected


@part
class Weaker(Margin):
    """What is done least: raising the chosen or lowering the rejected side (BPO)."""

    def __call__(
        self, chosen: Float[Tensor, "P"], rejected: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """min(chosen, -rejected); half the slope to each where they are equal."""
        return torch.minimum(chosen, -rejected)


@part
class SortedGaps(Margin):
    """The i-th smallest gap of the policy against the i-th smallest gap of the reference (AOT).

    The margins stand in ascending order, no longer in that of the pairs.
    """

    def own_needs(self) -> Needs:
        """Couples the batch."""
        return COUPLED

    def __call__(
        self, chosen: Float[Tensor, "P"], rejected: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """sort(L_chosen - L_rejected) - sort(L_ref,chosen - L_ref,rejected)."""
        policy_chosen, policy_rejected = sides.halves(PolicyLogp()(sides))
        policy = policy_chosen - policy_rejected
        reference = (policy - (chosen - rejected)).detach()
        return policy.sort().values - reference.sort().values


@part
class SortedSides(Margin):
    """The i-th smallest chosen value against the i-th smallest rejected one (AOT, unpaired)."""

    def own_needs(self) -> Needs:
        """Couples the batch."""
        return COUPLED

    def __call__(
        self, chosen: Float[Tensor, "P"], rejected: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """sort(chosen) - sort(rejected)."""
        return chosen.sort().values - rejected.sort().values
