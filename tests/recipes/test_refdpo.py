"""The reference-policy study's rewards: no reference, and a reference without the prompt."""

import pytest

from .longhand import cases, check
from .rows import logsig, over_pairs


@over_pairs
def posterior(yw, yl, beta=100.0):
    return -logsig(beta * yw.L - beta * yl.L)


@over_pairs
def likelihood_ratio(yw, yl, beta=0.01):
    return -logsig(beta * (yw.L - yw.alone) - beta * (yl.L - yl.alone))


CASES = [
    *cases(posterior, {"beta": 0.1}, {"beta": 0.7}, {"beta": 3.0}),
    *cases(likelihood_ratio, {}, {"beta": 0.7}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)
