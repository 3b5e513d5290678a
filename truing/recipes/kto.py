"""Losses that judge each response alone: KTO, its paired form, BCO."""

from typing import Literal

from truing.objectives import (
    Classified,
    CrossAnchored,
    Logistic,
    MismatchedMean,
    NoAnchor,
    Objective,
    Pairwise,
    Pointwise,
    RunningMean,
)
from truing.recipes._recipe import NonNegative, Positive, recipe


@recipe(source="arXiv:2402.01306; code ContextualAI/HALOs, trl 1.16")
def kto(
    beta: Positive = 0.1,
    desirable_weight: NonNegative = 1.0,
    undesirable_weight: NonNegative = 1.0,
) -> Objective:
    r"""Learn from thumbs up and down: gains and losses against how far the policy has gone anyway.

        loss = mean over responses of  w_D * (1 - sigmoid(beta * (r - z0)))   desirable
                                       w_U * (1 - sigmoid(beta * (z0 - r)))   undesirable
        z0 = max(0, mean of r over mismatched responses), without gradient

    r (nats): log-ratio to the reference, summed over response tokens. Each prompt brings another
    row's answer for z0. Of pairs, chosen is desirable and rejected is not.

    Args:
        beta: 1/nats.
        desirable_weight: with the numbers of responses n, the authors want
            desirable_weight * n_D / (undesirable_weight * n_U) within 1 to 4/3.
        undesirable_weight: see desirable_weight.
    """
    return Pointwise(
        beta=beta,
        anchor=MismatchedMean(),
        desirable_weight=desirable_weight,
        undesirable_weight=undesirable_weight,
    )


@recipe(source="code LuJunru/SamPO (kto_pair of older trl)")
def kto_pair(beta: Positive = 0.1) -> Objective:
    r"""Older TRL's KTO on pairs: each half of the batch is the other's anchor. Not KTO.

        loss = 1/2 * [1 - sigmoid(beta * (w - max(0, mean of l)))]
             + 1/2 * [1 - sigmoid(beta * (max(0, mean of w) - l))]

    w, l (nats): log-ratios of chosen and rejected, summed over response tokens; means over the
    step. The gradient flows through the means.

    Args:
        beta: 1/nats.
    """
    return Pairwise(beta=beta, loss=CrossAnchored())


@recipe(source="arXiv:2404.04656; code LuJunru/SamPO, trl 1.16 (bco_pair, without shift)")
def bco(
    beta: Positive = 0.01,
    shift: Literal["running", "none"] = "running",
    unpaired: bool = False,
) -> Objective:
    r"""A binary classifier of good and bad whose logit is the reward.

        loss = -log sigmoid(beta * w - d) - log sigmoid(-(beta * l - d))
        d: running mean of the step's mean reward over both sides, this step included

    w, l (nats): log-ratios of chosen and rejected, summed over response tokens. The unpaired form
    has no density ratios for unmatched prompts.

    Args:
        beta: 1/nats.
        shift: "none": d = 0, as TRL 1.16 (the biasedNCA loss of NCA's code).
        unpaired: single responses with labels, mean over responses.
    """
    mean = RunningMean() if shift == "running" else None
    if unpaired:
        return Pointwise(beta=beta, anchor=mean or NoAnchor(), loss=Logistic())
    return Pairwise(beta=beta, loss=Classified(unit=beta, shift=mean))
