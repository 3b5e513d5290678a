"""SimPO: no reference, token means, a target margin."""

from typing import Literal

from truing.objectives import (
    Constant,
    Exp,
    Hinge,
    Linear,
    Logistic,
    Objective,
    Pairwise,
    PolicyLogp,
    PowerReward,
    TokenMean,
)
from truing.recipes._recipe import NonNegative, Positive, Real, recipe


@recipe(source="arXiv:2405.14734; code princeton-nlp/SimPO")
def simpo(
    beta: Positive = 2.0, gamma: NonNegative = 0.5, loss: Literal["sigmoid", "hinge"] = "sigmoid"
) -> Objective:
    r"""Rank by the policy's mean log-prob per token, with a margin to exceed; no reference.

        loss = -log sigmoid(beta * (Lbar_chosen - Lbar_rejected) - gamma)

    Lbar (nats): mean log-prob over response tokens. The authors' code has gamma / beta as its knob
    (0.25 to 0.55). With loss="hinge": max(0, 1 - z), the code's second form.

    Args:
        beta: multiplies a mean, so 2 to 2.5, and 10 in the second version.
        gamma: the margin, outside beta; 0.3 to 1.6, beta times the code's ratio 0.25 here.
        loss: of z = beta * (...) - gamma.
    """
    form = Logistic() if loss == "sigmoid" else Hinge()
    likelihood = PolicyLogp(pool=TokenMean())
    return Pairwise(beta=beta, likelihood=likelihood, offset=Constant(value=gamma), loss=form)


@recipe(
    source="arXiv:2501.03884; code trl 1.16 (experimental cpo, alpha)",
    limits={"simpo": {"alpha": 0.0}},
)
def alphapo(beta: Positive = 2.5, gamma: NonNegative = 0.1, alpha: Real = 0.25) -> Objective:
    r"""SimPO with a bent reward, which controls how likelihoods move.

        R(y) = (1 - exp(-alpha * Lbar)) / alpha
        loss = -log sigmoid(beta * (R(y_chosen) - R(y_rejected)) - gamma)

    Lbar (nats): mean log-prob over response tokens.

    Args:
        beta: as in simpo.
        gamma: as in simpo.
        alpha: the bend; 0 is SimPO.
    """
    bent = PowerReward(alpha=alpha)
    likelihood = PolicyLogp(pool=TokenMean())
    offset = Constant(value=gamma)
    return Pairwise(beta=beta, likelihood=likelihood, chosen=bent, rejected=bent, offset=offset)


@recipe(source="arXiv:2502.00883; code tengxiao1/SimPER")
def simper() -> Objective:
    r"""Without any knob: the difference of inverse perplexities.

        loss = -exp(Lbar_chosen) + exp(Lbar_rejected)

    Lbar (nats): mean log-prob over response tokens.
    """
    likelihood = PolicyLogp(pool=TokenMean())
    return Pairwise(beta=1.0, likelihood=likelihood, chosen=Exp(), rejected=Exp(), loss=Linear())
