"""Two methods called MPO: maximum PO and mixed PO."""

from typing import Literal

from truing.objectives import (
    NLL,
    Classified,
    NegativeSigmoid,
    Objective,
    Pairwise,
    PolicyLogp,
    RunningMean,
    TokenMean,
    TokenSum,
)
from truing.recipes._recipe import NonNegative, Positive, recipe


@recipe(
    source="arXiv:2312.16430 (constants and reductions were not checked)",
    when={"pretrain_source": {"gamma": 0.1}},
    example={"beta_r": 0.1},
)
def maximum_po(
    beta_r: NonNegative,
    gamma: NonNegative = 0.0,
    average: bool = False,
    reduction: Literal["sum", "sequence_mean", "token_mean"] = "sum",
    reference_source: str = "sft",
    pretrain_source: str = "pretrain",
) -> Objective:
    r"""Maximise the preference probability itself; offline data, not a model, is the reference.

        loss = -sigmoid(L_chosen - L_rejected)
               - beta_r * mean of log pi on reference data - gamma * the same on pretraining text

    L (nats): log-prob summed over response tokens. Whether sums or means are meant, and the values
    of beta_r and gamma, are not known here.

    Args:
        beta_r: weight of the reference data; 0: none is read.
        gamma: weight of the pretraining text; 0: none is read.
        average: L is the mean over response tokens.
        reduction: of the log-probs on the sources: of sums, of token means, or over tokens.
        reference_source: the auxiliary source of reference data.
        pretrain_source: the auxiliary source of pretraining text.
    """
    likelihood = PolicyLogp(pool=TokenMean() if average else TokenSum())
    loss: Objective = Pairwise(beta=1.0, likelihood=likelihood, loss=NegativeSigmoid())
    if beta_r:
        loss = loss + beta_r * NLL(reduction=reduction, source=reference_source)
    if gamma:
        loss = loss + gamma * NLL(reduction=reduction, source=pretrain_source)
    return loss


@recipe(source="arXiv:2411.10442; code trl 1.16 (loss_weights)")
def mixed_po(
    beta: Positive = 0.1,
    dpo_weight: NonNegative = 0.8,
    bco_weight: NonNegative = 0.2,
    sft_weight: NonNegative = 1.0,
    shift: Literal["running", "none"] = "running",
) -> Objective:
    r"""DPO for which is better, BCO for how good each is, likelihood for how to write it.

        loss = 0.8 * dpo(beta) + 0.2 * bco(beta) + 1.0 * sft()

    Args:
        beta: of both preference losses.
        dpo_weight: of the preference loss.
        bco_weight: of the quality loss.
        sft_weight: of the likelihood, a mean over all chosen tokens of the step.
        shift: as in bco; TRL 1.16 has "none".
    """
    mean = RunningMean() if shift == "running" else None
    quality = Pairwise(beta=beta, loss=Classified(unit=beta, shift=mean))
    return dpo_weight * Pairwise(beta=beta) + bco_weight * quality + sft_weight * NLL()
