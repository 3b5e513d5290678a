"""Losses of a whole step, two steps long: AOT, Dr.DPO, beta-DPO, alpha-DPO."""

import itertools
import math
from collections import Counter

import pytest
import torch

from truing.core import BatchContext, Counts, State
from truing.recipes import parse

from .longhand import EXACT, cases, check, seen, state_of
from .rows import GROUPS, LATER, PAIRS, deviation, logsig, mean, pairs_of


def smoothed(z, epsilon):
    return -(1 - epsilon) * logsig(z) - epsilon * logsig(-z)


def aot(rows, beta=0.01, paired=True, epsilon=0.0):
    pairs = pairs_of(rows)
    if paired:
        up = sorted(yw.L - yl.L for yw, yl in pairs)
        down = sorted(yw.L_ref - yl.L_ref for yw, yl in pairs)
    else:
        up, down = sorted(yw.r for yw, _ in pairs), sorted(yl.r for _, yl in pairs)
    return mean(smoothed(beta * (a - b), epsilon) for a, b in zip(up, down, strict=True))


def dr_dpo(rows, beta=0.1, beta_prime=1.0):
    losses = [-logsig(beta * (yw.r - yl.r)) for yw, yl in pairs_of(rows)]
    return -beta_prime * math.log(mean(math.exp(-loss / beta_prime) for loss in losses))


def followed(values, state, ema):
    """Running mean and deviation, updated with this step before they are used."""
    now = (mean(values), deviation(values))
    return tuple(ema * old + (1 - ema) * new for old, new in zip(state, now, strict=True))


def beta_dpo(rows, beta=0.1, a=0.6, filtered=0.2, ema=0.9, state=(0.0, 0.0), kept=None):
    pairs = pairs_of(rows)
    kept = range(len(pairs)) if kept is None else kept
    usual, _ = followed([yw.still.r - yl.still.r for yw, yl in pairs], state, ema)
    seen_gap = mean(pairs[i][0].still.r - pairs[i][1].still.r for i in kept)
    strength = max(1e-3, beta * (1 + a * (seen_gap - usual)))
    return mean(-logsig(strength * (pairs[i][0].r - pairs[i][1].r)) for i in kept)


def alpha_dpo(rows, beta=10.0, gamma=4.0, alpha=0.2, ema=0.9, state=(0.0, 0.0)):
    pairs = pairs_of(rows)
    gaps = [yw.still.rbar - yl.still.rbar for yw, yl in pairs]
    mu, s = followed(gaps, state, ema)
    wanted = [gamma / beta + alpha * (gap - mu) / s for gap in gaps]
    gains = [yw.Lbar - yl.Lbar for yw, yl in pairs]
    return mean(-logsig(beta * (x - target)) for x, target in zip(gains, wanted, strict=True))


def at(formula, **fixed):
    """A formula at a given state, or for given selected pairs."""

    def step(rows, **knobs):
        return formula(rows, **knobs, **fixed)

    step.__name__ = formula.__name__
    return step


FILTERS = [{"beta": 0.3, "filtered": f} for f in (0.2, 0.4)]
SELECTED = {"selection": torch.tensor([True, False, True])}
ALL = {"selection": torch.tensor([True, True, True])}
BETA_STATE = {**ALL, **state_of(beta_dpo__mean=0.5, beta_dpo__std=0.8)}
ALPHA_STATE = state_of(alpha_dpo__mean=0.1, alpha_dpo__std=0.6)

CASES = [
    *cases(aot, {}, {"beta": 0.7}, {"beta": 0.7, "epsilon": 0.2}),
    *cases(aot, {"paired": False}, {"beta": 0.7, "paired": False, "epsilon": 0.2}),
    *cases(aot, {"beta": 0.7}, {"beta": 0.7, "paired": False}, rows=GROUPS),
    *cases(dr_dpo, {}, {"beta": 0.7}, {"beta": 0.7, "beta_prime": 0.3}),
    *cases(at(beta_dpo, kept=(0, 2)), *FILTERS, {"beta": 0.3, "a": 0.2}, fields=SELECTED),
    *cases(beta_dpo, {}, {"ema": 0.5, "beta": 0.3}, fields=ALL),
    *cases(at(beta_dpo, state=(0.5, 0.8)), {"ema": 1.0, "a": 2.0}, fields=BETA_STATE),
    *cases(alpha_dpo, {}, {"beta": 2.0, "gamma": 0.5, "alpha": 0.7}, {"alpha": 0.0}),
    *cases(alpha_dpo, {"ema": 0.5, "beta": 2.0}),
    *cases(at(alpha_dpo, state=(0.1, 0.6)), {"ema": 1.0, "alpha": 0.7}, fields=ALPHA_STATE),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)


def test_aot_really_sorts_these_rows():
    pairs = pairs_of(GROUPS)
    gaps = [(yw.L - yl.L, yw.L_ref - yl.L_ref) for yw, yl in pairs]
    by_policy = sorted(range(len(pairs)), key=lambda i: gaps[i][0])
    assert by_policy != sorted(range(len(pairs)), key=lambda i: gaps[i][1])


def test_beta_dpo_never_goes_below_its_floor():
    view = seen(PAIRS, **ALL, **state_of(beta_dpo__mean=100.0, beta_dpo__std=1.0)).view
    loss = parse("beta_dpo(filtered=0.0, ema=1.0)")(view).loss
    wanted = mean(-logsig(1e-3 * (yw.r - yl.r)) for yw, yl in PAIRS)
    assert math.isclose(float(loss.detach()), wanted, rel_tol=EXACT)


GAPS = {
    "beta_dpo": lambda yw, yl: yw.r - yl.r,
    "alpha_dpo": lambda yw, yl: yw.rbar - yl.rbar,
}
TWO_STEPS = [("beta_dpo(filtered=0.0)", beta_dpo), ("alpha_dpo()", alpha_dpo)]
IDS = torch.tensor([11, 22, 33])


@pytest.mark.parametrize(("text", "formula"), TWO_STEPS)
def test_the_state_of_one_step_goes_into_the_next(text, formula):
    name, state, running = formula.__name__, State(), (0.0, 0.0)
    for rows in (PAIRS, LATER):
        terms = parse(text)(seen(rows, state=state, row_ids=IDS).view)
        wanted = formula(rows, state=running)
        assert math.isclose(float(terms.loss.detach()), wanted, rel_tol=EXACT)
        state = terms.state
        running = followed([GAPS[name](yw, yl) for yw, yl in rows], running, 0.9)
        found = (state[f"{name}/mean"], state[f"{name}/std"])
        assert found == pytest.approx(running, rel=EXACT)


@pytest.mark.parametrize("name", GAPS)
def test_a_frozen_state_comes_out_as_it_went_in(name):
    given = state_of(**{f"{name}__mean": 0.2, f"{name}__std": 0.7})
    state = parse(f"{name}(ema=1.0)")(seen(PAIRS, row_ids=IDS, **given).view).state
    assert dict(state) == {f"{name}/mean": 0.2, f"{name}/std": 0.7}


def test_beta_dpo_draws_pairs_near_the_usual_gap_more_often():
    gaps = [yw.r - yl.r for yw, yl in PAIRS]
    usual, steps = {"beta_dpo__mean": gaps[0], "beta_dpo__std": 1.5}, 100
    subsets = list(itertools.combinations(range(3), 2))
    losses = {kept: beta_dpo(PAIRS, ema=1.0, state=(gaps[0], 1.5), kept=kept) for kept in subsets}
    objective, drawn = parse("beta_dpo(ema=1.0)"), Counter()
    for epoch in range(steps):
        context = BatchContext(counts=Counts(pairs=3), epoch=epoch)
        view = seen(PAIRS, row_ids=IDS, context=context, **state_of(**usual)).view
        loss = float(objective(view).loss.detach())
        found = [kept for kept, x in losses.items() if math.isclose(x, loss, rel_tol=EXACT)]
        assert len(found) == 1, "int(0.8 * 3) = 2 pairs are kept"
        drawn.update(found)
    # Weights exp(-((h - M) / s)^2 / 2), drawn one after the other without replacement.
    weights = [math.exp(-(((gap - gaps[0]) / 1.5) ** 2) / 2) for gap in gaps]
    for kept in subsets:
        share = sum(
            weights[first] / sum(weights) * weights[then] / (sum(weights) - weights[first])
            for first, then in (kept, kept[::-1])
        )
        spread = math.sqrt(steps * share * (1 - share))
        assert abs(drawn[kept] - steps * share) <= 4 * spread + 1
