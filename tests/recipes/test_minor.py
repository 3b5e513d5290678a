"""MinorDPO and MinorSFT."""

from dataclasses import replace

import pytest
import torch

from truing.recipes import parse

from .longhand import cases, check, seen
from .rows import GROUPS, LABELLED, PAIRS, logsig, mean, over_pairs, pairs_of, relu, sigmoid


@over_pairs
def minor_dpo(yw, yl, beta=0.1, at_zero=1.0):
    return -logsig(beta * yw.r - beta * relu(yl.r))


def minor_sft(rows, beta=0.1, scaled=False, average=False):
    desirable = [y for row in rows for y in row if y.label] or [yw for yw, _ in pairs_of(rows)]
    losses = [-logsig(beta * (y.rbar if average else y.r)) for y in desirable]
    return (2 / beta if scaled else 1) * mean(losses)


CASES = [
    *cases(minor_dpo, {}, {"beta": 0.7}, {"beta": 0.7, "at_zero": 0.0}),
    *cases(minor_dpo, {"beta": 0.7}, rows=GROUPS),
    *cases(minor_sft, {}, {"beta": 0.7}, {"scaled": True}, {"beta": 0.7, "scaled": True}),
    *cases(minor_sft, {"average": True}, {"beta": 0.7, "scaled": True, "average": True}),
    *cases(minor_sft, {"beta": 0.7}, {"average": True}, rows=LABELLED),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)


def test_the_rows_have_rejected_responses_on_both_sides_of_zero():
    ratios = [yl.r for _, yl in PAIRS]
    assert min(ratios) < 0 < max(ratios)


@pytest.mark.parametrize("at_zero", [0.0, 0.25, 1.0])
def test_at_exactly_zero_the_slope_is_the_one_asked_for(at_zero):
    chosen, rejected = PAIRS[0]
    begin = replace(rejected, policy=rejected.references[0])
    given = seen(((chosen, begin),))
    loss = parse(f"minor_dpo(beta=0.7, at_zero={at_zero})")(given.view).loss
    (slope,) = torch.autograd.grad(loss, given.leaves["policy"])
    # d/dl of -logsig(beta w - beta max(0, l)) = beta (1 - sigmoid(beta w)) max'(0), at l = 0
    wanted = 0.7 * (1 - sigmoid(0.7 * chosen.r)) * at_zero
    assert slope[2:].tolist() == pytest.approx([wanted] * 5, rel=1e-10, abs=1e-15)
    assert slope[:2].tolist() == pytest.approx([-0.7 * (1 - sigmoid(0.7 * chosen.r))] * 2)
