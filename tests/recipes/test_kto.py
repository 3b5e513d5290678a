"""Each side for itself: KTO, KTO-pair, BCO, APO-zero, APO-down."""

import math
from dataclasses import replace

import pytest

from truing.core import State
from truing.recipes import parse

from .longhand import EXACT, cases, check, seen, state_of
from .rows import GROUPS, LABELLED, LATER, PAIRS, logsig, mean, over_pairs, pairs_of, relu, sigmoid

# Pairs with another row's answer to each prompt beside them.
WITH_OTHERS = tuple(
    (yw, yl, replace(other[1], label=None, kl=(), log_sum_sq=()))
    for (yw, yl), other in zip(
        [[replace(y, kl=(), references=y.references[:1]) for y in row] for row in PAIRS],
        LABELLED,
        strict=True,
    )
)
# The same, the mismatched answers so unlikely that their mean log-ratio is below 0.
BELOW = tuple(
    (yw, yl, replace(other, policy=tuple(2 * lp for lp in other.policy)))
    for yw, yl, other in WITH_OTHERS
)


def judged(rows):
    """Responses that are their own prompt's, each desirable or not."""
    single = [(y, y.label) for row in rows for y in row if y.label is not None and not y.mismatched]
    both = [(y, y is yw) for yw, yl in pairs_of(rows) for y in (yw, yl)]
    return single or both


def kto(rows, beta=0.1, desirable_weight=1.0, undesirable_weight=1.0):
    z0 = relu(mean(y.still.r for row in rows for y in row if y.mismatched))

    def of(y, desirable):
        if desirable:
            return desirable_weight * (1 - sigmoid(beta * (y.r - z0)))
        return undesirable_weight * (1 - sigmoid(beta * (z0 - y.r)))

    return mean(of(y, desirable) for y, desirable in judged(rows))


def kto_pair(rows, beta=0.1):
    pairs = pairs_of(rows)
    of_chosen, of_rejected = (relu(mean(pair[i].r for pair in pairs)) for i in (0, 1))
    up = [1 - sigmoid(beta * (yw.r - of_rejected)) for yw, _ in pairs]
    down = [1 - sigmoid(beta * (of_chosen - yl.r)) for _, yl in pairs]
    return mean(up + down)


def bco(rows, beta=0.01, shift="running", unpaired=False, earlier=()):
    """`earlier`: the mean log-ratios (nats) of the steps before this one."""
    responses = judged(rows)
    now = mean(y.still.r for y, _ in responses)
    d = beta * mean([*earlier, now]) if shift == "running" else 0.0
    losses = [-logsig(beta * y.r - d if good else d - beta * y.r) for y, good in responses]
    return mean(losses) if unpaired else 2 * mean(losses)


def apo_zero(rows, beta=0.1, unpaired=False):
    losses = [1 - sigmoid(beta * y.r) if good else sigmoid(beta * y.r) for y, good in judged(rows)]
    return mean(losses) if unpaired else 2 * mean(losses)


@over_pairs
def apo_down(yw, yl, beta=0.1):
    return sigmoid(beta * yw.r) + 1 - sigmoid(beta * (yw.r - yl.r))


WEIGHTS = {"beta": 0.7, "desirable_weight": 1.3, "undesirable_weight": 0.4}
UNPAIRED = [{"unpaired": True}, {"unpaired": True, "beta": 0.7}]

CASES = [
    *cases(kto, {}, {"beta": 0.7}, WEIGHTS, rows=LABELLED),
    *cases(kto, {}, WEIGHTS, rows=WITH_OTHERS),
    *cases(kto, {"beta": 0.7}, rows=BELOW),
    *cases(kto_pair, {}, {"beta": 0.7}),
    *cases(kto_pair, {"beta": 0.7}, rows=LATER),
    *cases(bco, {}, {"beta": 0.7}, {"shift": "none"}, {"beta": 0.7, "shift": "none"}),
    *cases(bco, *UNPAIRED, {**UNPAIRED[1], "shift": "none"}, rows=LABELLED),
    *cases(apo_zero, {}, {"beta": 0.7}),
    *cases(apo_zero, *UNPAIRED, rows=LABELLED),
    *cases(apo_down, {}, {"beta": 0.7}),
    *cases(apo_down, {"beta": 0.7}, rows=GROUPS),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)


def test_the_rows_have_an_anchor_on_both_sides_of_zero():
    of_others = [mean(row[2].r for row in rows) for rows in (WITH_OTHERS, BELOW)]
    assert of_others[1] < 0 < of_others[0]


@pytest.mark.parametrize("text", ["bco(beta=0.7)", "mixed_po(beta=0.7, dpo_weight=0.0)"])
def test_bcos_shift_is_the_mean_of_all_steps_so_far(text):
    objective, state, earlier = parse(text), State(), []
    weight = 1.0 if text.startswith("bco") else 0.2
    for rows in (PAIRS, LATER, PAIRS):
        terms = objective(seen(rows, state=state).view)
        likelihood = 0.0 if weight == 1.0 else float(parse("sft()")(seen(rows).view).loss.detach())
        wanted = weight * bco(rows, beta=0.7, earlier=earlier) + likelihood
        assert math.isclose(float(terms.loss.detach()), wanted, rel_tol=EXACT)
        state = terms.state
        earlier.append(mean(y.r for row in rows for y in row))
    assert state["bco/steps"] == 3
    assert math.isclose(state["bco/mean"], mean(earlier), rel_tol=EXACT)


def test_bco_goes_on_from_a_given_state():
    given = seen(PAIRS, **state_of(bco__mean=0.4, bco__steps=3)).view
    wanted = bco(PAIRS, beta=0.7, earlier=(0.4, 0.4, 0.4))
    assert math.isclose(float(parse("bco(beta=0.7)")(given).loss.detach()), wanted, rel_tol=EXACT)
