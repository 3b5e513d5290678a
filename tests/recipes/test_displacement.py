"""Losses that hold the chosen response's likelihood up: DPOP, DPO-Shift, Cal-DPO, C2-DPO, BPO."""

from dataclasses import replace

import pytest
import torch

from truing.recipes import parse

from .longhand import cases, check, seen
from .rows import GROUPS, PAIRS, logsig, over_pairs, relu, sigmoid


@over_pairs
def dpop(yw, yl, beta=0.3, lam=50.0, at_zero=0.0):
    return -logsig(beta * (yw.r - yl.r - lam * relu(-yw.r)))


@over_pairs
def dpo_shift(yw, yl, lam, beta=0.1):
    return -logsig(beta * yw.r - lam * beta * yl.r)


@over_pairs
def cal_dpo(yw, yl, beta=1e-3):
    up = (yw.r - 1 / (2 * beta)) ** 2
    return -logsig(yw.r - yl.r) + up + (yl.r + 1 / (2 * beta)) ** 2


@over_pairs
def c2_dpo(yw, yl, beta=0.1, lam=2e-4):
    return -logsig(beta * (yw.r - yl.r)) + lam * (yw.r + yl.r) ** 2


@over_pairs
def bpo(yw, yl, beta=0.1):
    return -logsig(beta * min(yw.r, -yl.r))


CASES = [
    *cases(dpop, {}, {"beta": 0.7, "lam": 5.0}, {"lam": 0.5, "at_zero": 1.0}),
    *cases(dpo_shift, {"lam": 0.75}, {"lam": 0.2, "beta": 0.7}, {"lam": 1.0}),
    *cases(cal_dpo, {}, {"beta": 0.7}),
    *cases(c2_dpo, {}, {"beta": 0.7, "lam": 0.3}),
    *cases(bpo, {}, {"beta": 0.7}),
    *cases(bpo, {"beta": 0.7}, rows=GROUPS),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)


def slopes_at_the_start(expression):
    """Slope by the first token of the chosen and of the rejected response, both at r = 0."""
    chosen, rejected = (replace(y, policy=y.references[0]) for y in PAIRS[0])
    given = seen(((chosen, rejected),))
    (slope,) = torch.autograd.grad(parse(expression)(given.view).loss, given.leaves["policy"])
    return [float(slope[0]), float(slope[2])]


@pytest.mark.parametrize("at_zero", [0.0, 0.25, 1.0])
def test_dpop_at_exactly_zero_has_the_slope_asked_for(at_zero):
    # z = beta (w - l - lam max(0, -w)), and -logsig falls by one half per unit of z at z = 0.
    pull = 0.5 * 0.3
    found = slopes_at_the_start(f"dpop(beta=0.3, lam=5.0, at_zero={at_zero})")
    assert found == pytest.approx([-pull * (1 + 5.0 * at_zero), pull])


def test_bpo_at_a_tie_pulls_both_sides_half():
    assert slopes_at_the_start("bpo(beta=0.3)") == pytest.approx([-0.5 * 0.15, 0.5 * 0.15])


def test_the_rows_have_chosen_responses_on_both_sides_of_zero():
    assert min(yw.r for yw, _ in PAIRS) < 0 < max(yw.r for yw, _ in PAIRS)
    assert sigmoid(0.0) == 0.5
