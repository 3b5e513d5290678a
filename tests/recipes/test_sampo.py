"""SamPO: positions that are given, positions that are drawn, and the forms without a draw."""

import itertools
import math
from collections import Counter
from dataclasses import replace

import pytest
import torch

from truing.core import BatchContext, Counts
from truing.recipes import parse

from .longhand import EXACT, Text, cases, check, positions_seen, seen
from .rows import GROUPS, PAIRS, logsig, mean, pairs_of, relu

# The longer sides: the rejected one of row 0, the chosen one of row 1. Rows 0 and 1 are unequal.
KEPT = {(0, 1): (0, 3), (1, 0): (2,)}
OTHERS = {(0, 1): (1, 4), (1, 0): (0,)}
GIVEN = {"positions": positions_seen(PAIRS, KEPT)}
APART = {**GIVEN, "reference_positions": positions_seen(PAIRS, OTHERS)}


def kept_sum(tokens, kept, row, half):
    return sum(tokens[t] for t in kept.get((row, half), range(len(tokens))))


def sampled_ratio(rows, row, half, shared):
    """The log-ratio over the given positions, of policy and reference alike or each its own."""
    side = rows[row][half]
    own = KEPT if shared else OTHERS
    policy = kept_sum(side.policy, KEPT, row, half)
    return policy - kept_sum(side.references[0], own, row, half)


def largest_ratio(side, partner):
    """The log-ratio over the tokens that lead most; which ones carries no gradient."""
    rho = side.still.rho
    order = sorted(range(side.n), key=lambda t: -rho[t])[: min(side.n, partner.n)]
    return sum(side.rho[t] for t in order)


def averaged_ratio(side, partner):
    return side.rbar * (side.n + partner.n) / 2


def sampo(rows, beta=0.1, tokens="random", shared_positions=True):
    if tokens == "random":
        both = [[sampled_ratio(rows, i, s, shared_positions) for s in (0, 1)] for i in range(3)]
    else:
        ratio = {"largest": largest_ratio, "average": averaged_ratio}[tokens]
        both = [(ratio(yw, yl), ratio(yl, yw)) for yw, yl in pairs_of(rows)]
    return mean(-logsig(beta * (w - lo)) for w, lo in both)


def ipo_of_sums(rows, both):
    return mean((w - lo - 1 / (2 * 0.4)) ** 2 for w, lo in both)


def ipo_of_means(rows, both):
    gaps = [w / yw.n - lo / yl.n for (w, lo), (yw, yl) in zip(both, rows, strict=True)]
    return mean((gap - 1 / (2 * 0.4)) ** 2 for gap in gaps)


def minor(rows, both):
    return mean(-logsig(0.5 * w - 0.5 * relu(lo)) for w, lo in both)


def sampled(rows, objective, shared_positions=True):
    both = [[sampled_ratio(rows, i, s, shared_positions) for s in (0, 1)] for i in range(3)]
    return objective.formula(rows, both)


IPO = Text("ipo(beta=0.4, average=False)", ipo_of_sums)
IPO_MEANS = Text("ipo(beta=0.4)", ipo_of_means)
MINOR = Text("minor_dpo(beta=0.5)", minor)
FREE = [{"tokens": f, "beta": b} for f in ("largest", "average") for b in (0.1, 0.7)]

CASES = [
    *cases(sampo, {}, {"beta": 0.7}, fields=GIVEN),
    *cases(sampo, {"beta": 0.7, "shared_positions": False}, fields=APART),
    *cases(sampo, *FREE),
    *cases(sampo, *FREE, rows=GROUPS),
    *cases(sampled, {"objective": IPO}, {"objective": IPO_MEANS}, fields=GIVEN),
    *cases(sampled, {"objective": MINOR}, fields=GIVEN),
    *cases(sampled, {"objective": IPO, "shared_positions": False}, fields=APART),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)


# ---------------------------------------------------------------------------- drawn positions

# No two subsets of these have the same sum, so a loss tells which one was drawn.
SHORT = PAIRS[0][0]
LONG = replace(
    PAIRS[0][1],
    policy=tuple(-math.sqrt(prime) for prime in (2, 3, 5, 7, 11)),
    references=(tuple(-math.log(prime) for prime in (13, 3, 7, 5, 2)),),
)
SUBSETS = list(itertools.combinations(range(5), 2))
ROWS = tuple((replace(SHORT), replace(LONG)) for _ in range(500))


def draws(expression, number=500, epoch=0, seed=0):
    """What was drawn of the longer response of each row: (policy's, reference's) positions."""
    context = BatchContext(counts=Counts(pairs=number), epoch=epoch, seed=seed)
    ids = 7919 * torch.arange(number) + 90_210
    view = seen(ROWS[:number], references=1, row_ids=ids, context=context).view
    by_loss = {round(by_subset(*both), 12): both for both in itertools.product(SUBSETS, SUBSETS)}
    assert len(by_loss) == len(SUBSETS) ** 2
    return [by_loss[round(loss, 12)] for loss in parse(expression)(view).per_pair.tolist()]


def by_subset(policy, reference):
    own = sum(LONG.policy[t] for t in policy)
    return -logsig(0.7 * (SHORT.r - (own - sum(LONG.references[0][t] for t in reference))))


def test_two_of_five_tokens_are_drawn_evenly_and_shared_with_the_reference():
    found = draws("sampo(beta=0.7)")
    assert all(policy == reference for policy, reference in found)
    number = Counter(policy for policy, _ in found)
    # 500 draws of 10 subsets: 50 each, and 4 deviations of 6.7 to either side.
    assert all(23 <= number[kept] <= 77 for kept in SUBSETS)


def test_one_seed_epoch_and_row_always_draw_the_same():
    once = draws("sampo(beta=0.7)", 30)
    assert once == draws("sampo(beta=0.7)", 30)
    assert once != draws("sampo(beta=0.7)", 30, epoch=1)
    assert once != draws("sampo(beta=0.7)", 30, seed=1)
    assert once[:7] == draws("sampo(beta=0.7)", 7), "the other rows of the batch matter"


@pytest.mark.parametrize("text", ["sampo(beta=0.7, {})", "sampled(dpo(beta=0.7), {})"])
def test_the_end_token_is_always_among_them_when_it_is_kept(text):
    found = {policy for policy, _ in draws(text.format("keep_end=True"), 100)}
    assert found == {subset for subset in SUBSETS if 4 in subset}


def test_independent_positions_are_two_draws():
    found = draws("sampo(beta=0.7, shared_positions=False)")
    apart = sum(policy != reference for policy, reference in found)
    # Nine of ten are apart: 450 of 500, and 4 deviations of 6.7 to either side.
    assert 423 <= apart <= 477


def test_a_response_in_two_pairs_is_drawn_anew_against_each_partner():
    shortest, middle, longest = (
        replace(y, score=s) for y, s in ((SHORT, 1), (SHORT, 2), (LONG, 0))
    )
    rows = tuple((replace(middle), replace(longest), replace(shortest)) for _ in range(60))
    view = seen(rows, references=1, row_ids=torch.arange(60)).view
    losses = parse("sampo(beta=0.7)")(view).per_pair.reshape(60, 3)
    by_loss = {round(by_subset(kept, kept), 12): kept for kept in SUBSETS}
    # Pairs of a row in order: middle over longest, middle over shortest, shortest over longest.
    drawn = [[by_loss[round(float(row[i]), 12)] for i in (0, 2)] for row in losses]
    assert sum(one != other for one, other in drawn) > 40


def test_evaluation_draws_of_its_own_epoch():
    assert draws("sampo(beta=0.7)", 30, epoch=-1) != draws("sampo(beta=0.7)", 30)


def test_of_equal_lengths_all_tokens_are_taken():
    rows = (PAIRS[2],)
    view = seen(rows, row_ids=torch.tensor([4])).view
    wanted = -logsig(0.1 * (PAIRS[2][0].r - PAIRS[2][1].r))
    for text in ("sampo()", "sampo(shared_positions=False)", "sampled(dpo(), keep_end=True)"):
        assert math.isclose(float(parse(text)(view).loss.detach()), wanted, rel_tol=EXACT)
