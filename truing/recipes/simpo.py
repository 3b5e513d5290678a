"""SimPO: no reference, token means, a target margin."""

from typing import Literal

from truing.objectives import (
    Constant,
    Hinge,
    Logistic,
    Objective,
    Pairwise,
    PolicyLogp,
    TokenMean,
)
from truing.recipes._recipe import NonNegative, Positive, recipe


@recipe(source="arXiv:2405.14734; code princeton-nlp/SimPO")
def simpo(
    beta: Positive = 2.0, gamma: NonNegative = 1.0, loss: Literal["sigmoid", "hinge"] = "sigmoid"
) -> Objective:
    r"""Rank by the policy's mean log-prob per token, with a margin to exceed; no reference.

        loss = -log sigmoid(beta * (Lbar_chosen - Lbar_rejected) - gamma)

    Lbar (nats): mean log-prob over response tokens. The authors' code has gamma / beta as its knob
    (0.25 to 0.55). With loss="hinge": max(0, 1 - z), the code's second form.

    Args:
        beta: multiplies a mean, so 2 to 2.5, and 10 in the second version.
        gamma: the margin, outside beta; 0.3 to 1.6.
        loss: of z = beta * (...) - gamma.
    """
    form = Logistic() if loss == "sigmoid" else Hinge()
    likelihood = PolicyLogp(pool=TokenMean())
    return Pairwise(beta=beta, likelihood=likelihood, offset=Constant(gamma), loss=form)
