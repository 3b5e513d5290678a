"""DPO, its tolerance of flipped labels, IPO, and other functions of DPO's margin."""

import math

import pytest

from .longhand import cases, check
from .rows import GROUPS, logsig, over_pairs, relu, sigmoid


@over_pairs
def dpo(yw, yl, beta=0.1):
    return -logsig(beta * (yw.r - yl.r))


@over_pairs
def cdpo(yw, yl, beta=0.1, epsilon=0.1):
    z = beta * (yw.r - yl.r)
    return -(1 - epsilon) * logsig(z) - epsilon * logsig(-z)


@over_pairs
def robust_dpo(yw, yl, beta=0.1, epsilon=0.1):
    z = beta * (yw.r - yl.r)
    return (-(1 - epsilon) * logsig(z) + epsilon * logsig(-z)) / (1 - 2 * epsilon)


@over_pairs
def ipo(yw, yl, beta=0.1, average=True):
    gap = yw.rbar - yl.rbar if average else yw.r - yl.r
    return (gap - 1 / (2 * beta)) ** 2


@over_pairs
def hinge(yw, yl, beta=0.05, delta=1.0):
    return relu(delta - beta * (yw.r - yl.r))


@over_pairs
def gpo(yw, yl, beta=0.1, loss="logistic"):
    z = beta * (yw.r - yl.r)
    return {
        "logistic": math.log(1 + math.exp(-z)),
        "hinge": relu(1 - z),
        "square": (z - 1) ** 2,
        "exponential": math.exp(-z),
        "truncated_quadratic": relu(1 - z) ** 2,
        "savage": (1 / (1 + math.exp(z))) ** 2,
    }[loss]


@over_pairs
def discopop(yw, yl, beta=0.05, tau=0.05):
    z = beta * (yw.r - yl.r)
    m = sigmoid(z / tau)
    return (1 - m) * -logsig(z) + m * math.exp(-z)


@over_pairs
def spo(yw, yl, beta=0.1):
    z = beta * (yw.r - yl.r)
    return -z * sigmoid(z)


@over_pairs
def focalpo(yw, yl, beta=0.1, gamma=0.05, detach=True):
    z = beta * (yw.r - yl.r)
    seen = beta * (yw.still.r - yl.still.r) if detach else z
    return sigmoid(seen) ** gamma * -logsig(z)


CASES = [
    *cases(dpo, {}, {"beta": 0.7}),
    *cases(dpo, {}, {"beta": 0.7}, rows=GROUPS),
    *cases(cdpo, {}, {"beta": 0.7, "epsilon": 0.3}, {"epsilon": 0.0}),
    *cases(robust_dpo, {}, {"beta": 0.7, "epsilon": 0.3}, {"epsilon": 0.0}),
    *cases(ipo, {}, {"beta": 0.7}, {"average": False}, {"beta": 0.7, "average": False}),
    *cases(ipo, {}, {"average": False}, rows=GROUPS),
    *cases(hinge, {}, {"beta": 0.7}, {"beta": 0.7, "delta": 0.4}),
    *cases(gpo, {}, *({"beta": 0.7, "loss": f} for f in ("logistic", "hinge", "square"))),
    *cases(gpo, *({"beta": 0.7, "loss": f} for f in ("exponential", "savage"))),
    *cases(gpo, {"beta": 0.7, "loss": "truncated_quadratic"}, {"loss": "truncated_quadratic"}),
    *cases(discopop, {}, {"beta": 0.7}, {"beta": 0.7, "tau": 0.6}),
    *cases(spo, {}, {"beta": 0.7}),
    *cases(focalpo, {}, {"beta": 0.7, "gamma": 2.0}, {"gamma": 2.0, "detach": False}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)
