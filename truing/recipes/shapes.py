"""Other functions of DPO's margin: GPO's family, DiscoPOP, SPO, FocalPO."""

from typing import Literal

from truing.objectives import (
    Exponential,
    Focal,
    Hinge,
    Logistic,
    LogRatioModulated,
    MarginLoss,
    NegativeSilu,
    Objective,
    Pairwise,
    Savage,
    Squared,
    TruncatedSquare,
)
from truing.recipes._recipe import NonNegative, Positive, recipe

Shape = Literal["logistic", "hinge", "square", "exponential", "truncated_quadratic", "savage"]


@recipe(
    source="arXiv:2402.05749",
    limits={"dpo": {"loss": "logistic"}, "hinge": {"loss": "hinge"}},
)
def gpo(beta: Positive = 0.1, loss: Shape = "logistic") -> Objective:
    r"""One family of convex (and one bounded) losses of DPO's margin.

        loss = f(z),  z = beta * (r_chosen - r_rejected)
        f: logistic log(1 + e^-z);  hinge max(0, 1 - z);  square (1 - z)^2;  exponential e^-z;
           truncated_quadratic max(0, 1 - z)^2;  savage 1 / (1 + e^z)^2

    Args:
        beta: as in dpo.
        loss: f; "logistic" is DPO.
    """
    shapes: dict[Shape, MarginLoss] = {
        "logistic": Logistic(),
        "hinge": Hinge(),
        "square": Squared(target=1.0),
        "exponential": Exponential(),
        "truncated_quadratic": TruncatedSquare(),
        "savage": Savage(),
    }
    return Pairwise(beta=beta, loss=shapes[loss])


@recipe(source="arXiv:2406.08414; code SakanaAI/DiscoPOP (log_ratio_modulated_loss)")
def discopop(beta: Positive = 0.05, tau: Positive = 0.05) -> Objective:
    r"""The loss that a language model discovered: logistic and exponential, blended by the margin.

        loss = (1 - m) * -log sigmoid(z) + m * exp(-z),  m = sigmoid(z / tau)
        z = beta * (r_chosen - r_rejected)

    Neither convex nor monotone near z = 0.

    Args:
        beta: as in dpo; 0.05 in the paper.
        tau: width of the blend.
    """
    return Pairwise(beta=beta, loss=LogRatioModulated(temperature=tau))


@recipe(source="EMNLP 2025; code warlockee/oxRL (a third party's)")
def spo(beta: Positive = 0.1) -> Objective:
    r"""Self-weighted: the margin times its own probability.

        loss = -z * sigmoid(z),  z = beta * (r_chosen - r_rejected)

    Args:
        beta: as in dpo.
    """
    return Pairwise(beta=beta, loss=NegativeSilu())


@recipe(
    source="arXiv:2501.06645; code warlockee/oxRL (a third party's, detached)",
    limits={"dpo": {"gamma": 0.0}},
)
def focalpo(beta: Positive = 0.1, gamma: NonNegative = 0.05, detach: bool = True) -> Objective:
    r"""DPO that spends itself on pairs it ranks right, instead of on hopeless ones.

        loss = sigmoid(z)^gamma * -log sigmoid(z),  z = beta * (r_chosen - r_rejected)

    Args:
        beta: as in dpo.
        gamma: how strongly; 0 is DPO.
        detach: no gradient through the weight. Whether the paper detaches was not checked.
    """
    return Pairwise(beta=beta, weight=Focal(power=gamma, is_detached=detach))
