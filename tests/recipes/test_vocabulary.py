"""WPO and TDPO: statistics over the vocabulary at each token."""

import math

import pytest

from .longhand import cases, check
from .rows import logsig, mean, over_pairs

LEAVES = ("policy", "log_sum_sq", "kl")


@over_pairs
def wpo(yw, yl, beta=0.01, capped=True):
    def log_v(y):
        return mean(lp - c for lp, c in zip(y.still.policy, y.still.log_sum_sq, strict=True))

    weight = math.exp(log_v(yw) + log_v(yl))
    return (min(1.0, weight) if capped else weight) * -logsig(beta * (yw.r - yl.r))


@over_pairs
def tdpo(yw, yl, version=2, beta=0.1, alpha=0.5):
    h = yw.r - yl.r
    if version == 1:
        return -logsig(beta * (h - (sum(yl.kl) - sum(yw.kl))))
    return -logsig(beta * (h - alpha * (sum(yl.kl) - sum(yw.still.kl))))


CASES = [
    *cases(wpo, {}, {"beta": 0.7}, {"beta": 0.7, "capped": False}, leaves=LEAVES),
    *cases(tdpo, {}, {"beta": 0.7}, {"beta": 0.7, "alpha": 1.5}, leaves=LEAVES),
    *cases(tdpo, {"version": 1}, {"version": 1, "beta": 0.7}, leaves=LEAVES),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)
