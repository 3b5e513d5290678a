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
LONGEST = replace(
    PAIRS[0][1],
    policy=tuple(-math.sqrt(prime) for prime in (2, 3, 5, 7, 11)),
    references=(tuple(-math.log(prime) for prime in (13, 3, 7, 5, 2)),),
)
ROW = ((PAIRS[0][0], LONGEST),)
SUBSETS = list(itertools.combinations(range(5), 2))


def drawn(expression, epoch, seed=0):
    """The loss of one pair of 2 and 5 tokens, whose positions are drawn."""
    context = BatchContext(counts=Counts(pairs=1), epoch=epoch, seed=seed)
    view = seen(ROW, references=1, row_ids=torch.tensor([90_210]), context=context).view
    return float(parse(expression)(view).loss.detach())


def by_subset(kept, reference=None):
    chosen, rejected = ROW[0]
    policy = sum(rejected.policy[t] for t in kept)
    references = sum(rejected.references[0][t] for t in reference or kept)
    return -logsig(0.7 * (chosen.r - (policy - references)))


def which(loss, losses):
    """The one subset that gives this loss."""
    found = [name for name, value in losses.items() if math.isclose(loss, value, rel_tol=EXACT)]
    assert len(found) == 1, f"{loss} is the loss of {found}"
    return found[0]


def test_two_of_five_tokens_are_drawn_evenly_over_the_epochs():
    losses = {kept: by_subset(kept) for kept in SUBSETS}
    seen_so_far = Counter(which(drawn("sampo(beta=0.7)", epoch), losses) for epoch in range(500))
    # 500 draws of 10 subsets: 50 each, and 4 deviations of 6.7 to either side.
    assert all(23 <= seen_so_far[kept] <= 77 for kept in SUBSETS)


def test_one_seed_epoch_and_row_always_draw_the_same():
    once = [drawn("sampo(beta=0.7)", epoch, seed=3) for epoch in range(20)]
    assert once == [drawn("sampo(beta=0.7)", epoch, seed=3) for epoch in range(20)]
    assert once != [drawn("sampo(beta=0.7)", epoch, seed=4) for epoch in range(20)]


def test_the_end_token_is_always_among_them_when_it_is_kept():
    losses = {kept: by_subset(kept) for kept in SUBSETS}
    kept = {which(drawn("sampo(beta=0.7, keep_end=True)", e), losses) for e in range(100)}
    assert kept == {subset for subset in SUBSETS if 4 in subset}
    text = "sampled(dpo(beta=0.7), keep_end=True)"
    assert {which(drawn(text, e), losses) for e in range(100)} == kept


def test_independent_positions_are_two_draws():
    losses = {(own, other): by_subset(own, other) for own in SUBSETS for other in SUBSETS}
    text = "sampo(beta=0.7, shared_positions=False)"
    draws = Counter(which(drawn(text, epoch), losses) for epoch in range(300))
    apart = sum(number for (own, other), number in draws.items() if own != other)
    # Nine of ten draws are apart: 270 of 300, and 4 deviations of 5.2 to either side.
    assert 249 <= apart <= 291


def test_evaluation_draws_too():
    losses = {kept: by_subset(kept) for kept in SUBSETS}
    which(drawn("sampo(beta=0.7)", -1), losses)


def test_of_equal_lengths_all_tokens_are_taken():
    rows = (PAIRS[2],)
    view = seen(rows, row_ids=torch.tensor([4])).view
    wanted = -logsig(0.1 * (PAIRS[2][0].r - PAIRS[2][1].r))
    for text in ("sampo()", "sampo(shared_positions=False)", "sampled(dpo(), keep_end=True)"):
        assert math.isclose(float(parse(text)(view).loss.detach()), wanted, rel_tol=EXACT)
