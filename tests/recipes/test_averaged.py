"""Token means in place of sums, and token log-ratios within bounds, under other losses."""

import pytest

from .longhand import Text, cases, check
from .rows import GROUPS, PAIRS, clip, logsig, mean, pairs_of, relu


def dpo_of(gap):
    return -logsig(0.8 * gap)


def ipo_of(gap):
    return (gap - 1 / (2 * 0.4)) ** 2


def hinge_of(gap):
    return relu(1 - 0.6 * gap)


def minor_of(w, lo):
    return -logsig(0.8 * w - 0.8 * relu(lo))


def of_gap(form):
    return lambda w, lo: form(w - lo)


def averaged(rows, objective):
    return mean(objective.formula(yw.rbar, yl.rbar) for yw, yl in pairs_of(rows))


def clamped(side, low, high):
    return sum(clip(rho, low, high) for rho in side.rho)


def humanline(rows, objective, low=-1.0, high=1.5):
    sums = [[clamped(y, low, high) for y in pair] for pair in pairs_of(rows)]
    return mean(objective.formula(w, lo) for w, lo in sums)


DPO = Text("dpo(beta=0.8)", of_gap(dpo_of))
IPO = Text("ipo(beta=0.4, average=False)", of_gap(ipo_of))
HINGE = Text("hinge(beta=0.6)", of_gap(hinge_of))
MINOR = Text("minor_dpo(beta=0.8)", minor_of)
BOUNDS = {"low": -0.47, "high": 0.43}

CASES = [
    *cases(averaged, *({"objective": o} for o in (DPO, IPO, HINGE, MINOR))),
    *cases(averaged, {"objective": DPO}, rows=GROUPS),
    *cases(humanline, *({"objective": o} for o in (DPO, IPO, MINOR))),
    *cases(humanline, {"objective": DPO, **BOUNDS}, {"objective": HINGE, "low": -0.33}),
    *cases(humanline, {"objective": DPO, **BOUNDS}, rows=GROUPS),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)


def test_the_rows_reach_both_default_bounds():
    rho = [value for row in PAIRS for side in row for value in side.rho]
    assert min(rho) < -1.0
    assert max(rho) > 1.5
