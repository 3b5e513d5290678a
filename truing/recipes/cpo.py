"""Reference-free pair losses beside a likelihood: CPO, CPO-SimPO, TPO."""

from typing import Literal

from truing.objectives import (
    NLL,
    Constant,
    Hinge,
    Logistic,
    Objective,
    Pairwise,
    PolicyLogp,
    TokenMean,
    TokenSum,
)
from truing.recipes._recipe import NonNegative, Positive, recipe

Reduction = Literal["token_mean", "sequence_mean", "sum"]


@recipe(source="arXiv:2401.08417; code trl 1.16 (experimental cpo)")
def cpo(
    beta: Positive = 0.1,
    alpha: NonNegative = 1.0,
    nll: Reduction = "token_mean",
    loss: Literal["sigmoid", "hinge"] = "sigmoid",
) -> Objective:
    r"""DPO with a uniform reference, which costs nothing, and likelihood to stay in place.

        loss = -log sigmoid(beta * (L_chosen - L_rejected)) + alpha * NLL(chosen)

    L (nats): log-prob summed over response tokens. With loss="hinge": max(0, 1 - z).

    Args:
        beta: 1/nats.
        alpha: weight of the likelihood.
        nll: its reduction; authors' code and TRL take the mean over all chosen tokens, the paper
            writes sums.
        loss: of z = beta * (L_chosen - L_rejected).
    """
    form = Logistic() if loss == "sigmoid" else Hinge()
    pair = Pairwise(beta=beta, likelihood=PolicyLogp(), loss=form)
    return pair + alpha * NLL(reduction=nll)


@recipe(
    source="code fe1ixxu/CPO_SIMPO, trl 1.16 (experimental cpo)", limits={"simpo": {"alpha": 0.0}}
)
def cpo_simpo(
    beta: Positive = 10.0,
    gamma: NonNegative = 5.4,
    alpha: NonNegative = 0.05,
    nll: Reduction = "token_mean",
) -> Objective:
    r"""SimPO with CPO's likelihood term.

        loss = -log sigmoid(beta * (Lbar_chosen - Lbar_rejected) - gamma) + alpha * NLL(chosen)

    Args:
        beta: as in simpo.
        gamma: as in simpo.
        alpha: weight of the likelihood.
        nll: its reduction, as in cpo.
    """
    likelihood = PolicyLogp(pool=TokenMean())
    pair = Pairwise(beta=beta, likelihood=likelihood, offset=Constant(value=gamma))
    return pair + alpha * NLL(reduction=nll)


@recipe(source="arXiv:2405.16681")
def tpo(
    beta: Positive = 0.01,
    alpha: NonNegative = 1.0,
    average: bool = False,
    gamma: NonNegative = 0.0,
    reduction: Reduction = "token_mean",
    source: str = "gold",
) -> Objective:
    r"""Triples: rank two responses and raise a third, the gold one.

        loss = -log sigmoid(beta * (L_chosen - L_rejected) - gamma) + alpha * NLL(gold)

    L (nats): log-prob summed over response tokens.

    Args:
        beta: 1/nats.
        alpha: weight of the gold responses' likelihood.
        average: L is the mean over response tokens (TPO-L).
        gamma: margin to exceed, outside beta, as in simpo (TPO-L).
        reduction: of the gold responses' likelihood.
        source: the auxiliary source of the gold responses.
    """
    likelihood = PolicyLogp(pool=TokenMean() if average else TokenSum())
    pair = Pairwise(beta=beta, likelihood=likelihood, offset=Constant(value=gamma))
    return pair + alpha * NLL(reduction=reduction, source=source)
