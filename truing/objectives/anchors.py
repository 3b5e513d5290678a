"""What a single response's reward is measured against, when it has no partner. Detached always.

Shapes: S responses standing alone (or sides of pairs).
"""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from truing.core.needs import Needs
from truing.core.sides import Sides
from truing.core.state import State
from truing.objectives.likelihoods import Likelihood
from truing.objectives.margins import COUPLED
from truing.objectives.part import Part, part


@part
class Anchor(Part):
    """A log-ratio, nats, that every response of the step is measured against."""

    @abstractmethod
    def __call__(self, likelihood: Likelihood, sides: Sides) -> Float[Tensor, ""]:
        """A scalar in nats."""


@part
class NoAnchor(Anchor):
    """Zero: the reference itself."""

    def __call__(self, likelihood: Likelihood, sides: Sides) -> Float[Tensor, ""]:
        """0."""
        return sides.view.policy.new_zeros(())


@part
class MismatchedMean(Anchor):
    """How far the policy has gone on other prompts' answers, at least 0 (KTO's z0)."""

    def own_needs(self) -> Needs:
        """Mismatched responses of the whole step."""
        return COUPLED | Needs(mismatched_responses=True)

    def __call__(self, likelihood: Likelihood, sides: Sides) -> Float[Tensor, ""]:
        """max(0, mean over mismatched responses of the likelihood)."""
        others = torch.nonzero(sides.view.need("mismatched"))[:, 0]
        if not others.shape[0]:
            return sides.view.policy.new_zeros(())
        values = likelihood(Sides(sides.view, others, is_paired=False))
        return values.detach().mean().clamp(min=0)


@part
class RunningMean(Anchor):
    """The mean over all steps so far of the step's mean log-ratio (BCO's shift).

    It takes this step in before it is used, and every step weighs the same.
    """

    def own_needs(self) -> Needs:
        """Running mean and number of steps; couples the batch."""
        return COUPLED | Needs(state=frozenset({"bco/mean", "bco/steps"}))

    def next_state(self, likelihood: Float[Tensor, "S"], sides: Sides) -> State:
        """The mean with this step in it."""
        state = sides.view.state
        if not sides.count:
            return state
        steps, mean = state.get("bco/steps", 0.0) + 1.0, state.get("bco/mean", 0.0)
        mean += (float(likelihood.mean()) - mean) / steps
        return state.replace(**{"bco/mean": mean, "bco/steps": steps})

    def value(self, sides: Sides) -> float:
        """The mean in nats; 0 before any response was seen."""
        return sides.view.state.get("bco/mean", 0.0)

    def __call__(self, likelihood: Likelihood, sides: Sides) -> Float[Tensor, ""]:
        """The running mean."""
        return sides.view.policy.new_tensor(self.value(sides))
