"""Length: R-DPO, LD-DPO, D2PO."""

import pytest

from .longhand import cases, check
from .rows import GROUPS, logsig, over_pairs


@over_pairs
def r_dpo(yw, yl, beta=0.1, alpha=0.01):
    return -logsig(beta * (yw.r - yl.r) + alpha * (yw.n - yl.n))


@over_pairs
def ld_dpo(yw, yl, beta=0.1, alpha=0.5, discount_reference=True):
    m = min(yw.n, yl.n)

    def reward(y):
        policy = sum(y.policy[:m]) + alpha * sum(y.policy[m:])
        share = alpha if discount_reference else 1.0
        return policy - sum(y.references[0][:m]) - share * sum(y.references[0][m:])

    return -logsig(beta * (reward(yw) - reward(yl)))


@over_pairs
def d2po(yw, yl, beta=0.1, gamma=0.98):
    def reward(y):
        return sum(gamma**t * rho for t, rho in enumerate(y.rho, start=1))

    return -logsig(beta * (reward(yw) - reward(yl)))


CASES = [
    *cases(r_dpo, {}, {"beta": 0.7, "alpha": 0.3}),
    *cases(r_dpo, {"alpha": 0.3}, rows=GROUPS),
    *cases(ld_dpo, {}, {"beta": 0.7, "alpha": 0.2}, {"alpha": 0.2, "discount_reference": False}),
    *cases(ld_dpo, {"beta": 0.7}, {"discount_reference": False}, rows=GROUPS),
    *cases(d2po, {}, {"beta": 0.7, "gamma": 0.6}),
    *cases(d2po, {"gamma": 0.6}, rows=GROUPS),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)
