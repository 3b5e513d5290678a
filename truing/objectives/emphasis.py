"""Weights of pairs: how much each pair's loss counts. Detached unless the docstring says so.

Shapes: P pairs, S = 2P sides.
"""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from truing.core.knobs import NonNegative
from truing.core.needs import Needs
from truing.core.sides import Sides
from truing.objectives.part import Part, part
from truing.objectives.pooling import TokenMean


@part
class Emphasis(Part):
    """Gives each pair its weight."""

    @abstractmethod
    def __call__(
        self, z: Float[Tensor, "P"], gap: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """From the margin z as the loss sees it and the likelihood gap in nats; (P,)."""


@part
class Even(Emphasis):
    """Every pair counts once."""

    def __call__(
        self, z: Float[Tensor, "P"], gap: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """1."""
        return torch.ones_like(gap)


@part
class OnPolicy(Emphasis):
    """How likely the policy itself would have written both sides (WPO).

    log v = mean over tokens of (lp_t - log sum_v pi(v)^2), of each side.

    Args:
        is_capped: the product of both sides' v is at most 1 (authors); TRL has no cap.
    """

    is_capped: bool = True

    def own_needs(self) -> Needs:
        """Log sum_v pi(v)^2 of every position."""
        return Needs(vocabulary_statistics=frozenset({"log_sum_sq"}))

    def __call__(
        self, z: Float[Tensor, "P"], gap: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """min(1, v_chosen * v_rejected)."""
        view = sides.view
        tokens = view.policy.detach() - view.statistic("log_sum_sq").detach()
        chosen, rejected = sides.halves(TokenMean()(sides.totals(tokens), sides))
        log_weight = chosen + rejected
        return (log_weight.clamp(max=0) if self.is_capped else log_weight).exp()


@part
class Focal(Emphasis):
    """sigmoid(z)^power: pairs that are ranked right count more (FocalPO)."""

    power: NonNegative
    is_detached: bool = True

    def __call__(
        self, z: Float[Tensor, "P"], gap: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """exp(power * log sigmoid(z)); with gradient unless detached."""
        weight = (self.power * torch.nn.functional.logsigmoid(z)).exp()
        return weight.detach() if self.is_detached else weight
