"""DPO beside the likelihood of the chosen response: RPO and iterative RPO."""

from typing import Literal

from truing.objectives import NLL, Objective, Pairwise
from truing.recipes._recipe import NonNegative, Positive, recipe


@recipe(
    source="arXiv:2405.16436; code YSLIU627/Regularized-Preference-Optimization",
    limits={"dpo": {"eta": 0.0}},
)
def rpo(
    beta: Positive = 0.01,
    eta: NonNegative = 0.005,
    reduction: Literal["sum_beta", "sequence_mean", "token_mean"] = "sum_beta",
) -> Objective:
    r"""Regularized PO: DPO that provably does not over-optimise, thanks to a likelihood term.

        loss = -log sigmoid(beta * (r_chosen - r_rejected)) - eta * beta * L_chosen

    L (nats): log-prob of the chosen response, summed over its tokens.

    Args:
        beta: as in dpo; 0.01 (zephyr-beta), 0.05 (zephyr-gemma).
        eta: weight of the likelihood.
        reduction: "sum_beta": token sums times beta (paper, handbook code); "sequence_mean": eta
            times the mean over responses of token means (the same repository's later script);
            "token_mean": eta times the mean over all chosen tokens (TRL's recipe for RPO).
    """
    if reduction == "sum_beta":
        return Pairwise(beta=beta) + (eta * beta) * NLL(reduction="sum")
    return Pairwise(beta=beta) + eta * NLL(reduction=reduction)


@recipe(source="arXiv:2404.19733", limits={"dpo": {"alpha": 0.0}})
def iterative_rpo(beta: Positive = 0.1, alpha: NonNegative = 1.0) -> Objective:
    r"""DPO plus the chosen response's likelihood per token; its rounds make new pairs.

        loss = -log sigmoid(beta * (r_chosen - r_rejected)) - alpha * L_chosen / |y_chosen|

    Args:
        beta: as in dpo.
        alpha: weight of the likelihood; 1 in the paper.
    """
    return Pairwise(beta=beta) + alpha * NLL(reduction="sequence_mean")
