"""HPO: a preference loss, a weighted likelihood and an expectile of the value head."""

import math

import pytest
import torch

from truing.recipes import parse

from .longhand import EXACT, Text, cases, check, seen
from .rows import PAIRS, logsig, mean, pairs_of, relu

VALUES = (1.4, 1.4, 2.9, 2.9, 0.8, 0.8)
"""What the value head says of the prompt of each response of `PAIRS`."""


def preference_dpo(pairs):
    return mean(-logsig(0.7 * (yw.r - yl.r)) for yw, yl in pairs)


def preference_hinge(pairs):
    return mean(relu(1 - 0.05 * (yw.r - yl.r)) for yw, yl in pairs)


def expectile(u, tau):
    return abs(tau - (1 if u < 0 else 0)) * u**2


def hpo(rows, preference, gamma, temperature, tau, cap=None, average=False, values=VALUES):
    responses = [y for row in rows for y in row]
    surplus = [y.score - v for y, v in zip(responses, values, strict=True)]
    weights = [min(math.exp(u / temperature), cap or math.inf) for u in surplus]
    sizes = [y.Lbar if average else y.L for y in responses]
    likelihood = mean(weight * size for weight, size in zip(weights, sizes, strict=True))
    value_loss = mean(expectile(u, tau) for u in surplus)
    return preference.formula(pairs_of(rows)) - gamma * likelihood + value_loss


DPO = Text("dpo(beta=0.7)", preference_dpo)
HINGE = Text("hinge()", preference_hinge)
BASE = {"preference": DPO, "gamma": 0.1, "temperature": 1.0, "tau": 0.7}
OTHERS = (
    {"preference": HINGE},
    {"gamma": 0.5},
    {"temperature": 0.4},
    {"tau": 0.9},
    {"cap": 1.2},
    {"cap": 2.0},
    {"average": True},
    {"gamma": 0.0},
)


def head():
    return torch.tensor(VALUES, dtype=torch.float64, requires_grad=True)


CASES = cases(hpo, BASE, *({**BASE, **o} for o in OTHERS), fields={"heads": {"value": head()}})


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)


@pytest.mark.parametrize("tau", [0.6, 0.9])
def test_only_the_expectile_moves_the_value_head(tau):
    values = head()
    text = f"hpo(dpo(), gamma=0.4, temperature=0.5, tau={tau})"
    loss = parse(text)(seen(PAIRS, heads={"value": values}).view).loss
    (slope,) = torch.autograd.grad(loss, values)
    surplus = [y.score - v for y, v in zip([y for r in PAIRS for y in r], VALUES, strict=True)]
    assert min(surplus) < 0 < max(surplus)
    # d/dV of |tau - 1(u < 0)| u^2 with u = s - V
    wanted = [-2 * abs(tau - (u < 0)) * u / len(VALUES) for u in surplus]
    assert slope.tolist() == pytest.approx(wanted, rel=EXACT)


def test_detach_trunk_says_whose_gradient_moves_the_model_below_the_head():
    knobs = "dpo(), gamma=0.4, temperature=0.5, tau=0.7"
    assert parse(f"hpo({knobs})").needs.attached_heads == frozenset()
    assert parse(f"hpo({knobs}, detach_trunk=False)").needs.attached_heads == {"value"}
