"""DPO, and its forms for labels that are partly wrong."""

from typing import Annotated

from truing.core.knobs import Interval
from truing.objectives import Logistic, Objective, Pairwise, Unbiased
from truing.recipes._recipe import Positive, recipe

FlipShare = Annotated[float, Interval(0.0, 0.5, is_high_open=True)]


@recipe(source="arXiv:2305.18290; code eric-mitchell/direct-preference-optimization")
def dpo(beta: Positive = 0.1) -> Objective:
    r"""Rank the chosen response above the rejected one, measured against the reference.

        loss = -log sigmoid(beta * (r_chosen - r_rejected))

    r (nats): log-ratio to the reference, summed over response tokens, end token included.

    Args:
        beta: strength of the tie to the reference, 1/nats; the authors use 0.1, and 0.5 on TL;DR.
    """
    return Pairwise(beta=beta)


@recipe(
    source="E. Mitchell, A note on DPO with noisy preferences, 2023; code as dpo",
    limits={"dpo": {"epsilon": 0.0}},
)
def cdpo(beta: Positive = 0.1, epsilon: FlipShare = 0.1) -> Objective:
    r"""DPO that is told which share of the labels is flipped, and stops at that certainty.

        loss = -(1 - epsilon) * log sigmoid(z) - epsilon * log sigmoid(-z)
        z = beta * (r_chosen - r_rejected)

    HALOs' default for epsilon is 0.2. TRL 1.16 ignores `label_smoothing` for this loss.

    Args:
        beta: as in dpo.
        epsilon: share of flipped labels, below 1/2.
    """
    return Pairwise(beta=beta, loss=Logistic(smoothing=epsilon))


@recipe(source="arXiv:2403.00409; code trl 1.16 (robust)", limits={"dpo": {"epsilon": 0.0}})
def robust_dpo(beta: Positive = 0.1, epsilon: FlipShare = 0.1) -> Objective:
    r"""DPO whose loss is unbiased when a known share of the labels is flipped.

        loss = [-(1 - epsilon) * log sigmoid(z) + epsilon * log sigmoid(-z)] / (1 - 2 epsilon)
        z = beta * (r_chosen - r_rejected)

    The loss can be negative and has no lower bound.

    Args:
        beta: as in dpo.
        epsilon: share of flipped labels, below 1/2.
    """
    return Pairwise(beta=beta, loss=Unbiased(flipped=epsilon))
