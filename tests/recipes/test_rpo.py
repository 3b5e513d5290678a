"""Losses with a likelihood term: SFT, RPO, iterative RPO, mixed PO."""

import pytest

from .longhand import cases, check, state_of
from .rows import GROUPS, LABELLED, PAIRS, logsig, mean, nll, pairs_of, source_of


def chosen_of(rows):
    """Every response that is chosen in some pair, once; of labelled rows the desirable ones."""
    chosen = {id(yw): yw for yw, _ in pairs_of(rows)}
    return list(chosen.values()) or [y for row in rows for y in row if y.label]


def dpo_of(rows, beta):
    return mean(-logsig(beta * (yw.r - yl.r)) for yw, yl in pairs_of(rows))


def sft(rows, reduction="token_mean", source=None):
    return nll(chosen_of(rows) if source is None else source_of(source), reduction)


def rpo(rows, beta=0.01, eta=0.005, reduction="sum_beta"):
    term = {
        "sum_beta": eta * beta * nll(chosen_of(rows), "sum"),
        "sequence_mean": eta * nll(chosen_of(rows), "sequence_mean"),
        "token_mean": eta * nll(chosen_of(rows), "token_mean"),
    }[reduction]
    return dpo_of(rows, beta) + term


def iterative_rpo(rows, beta=0.1, alpha=1.0):
    return dpo_of(rows, beta) + alpha * nll(chosen_of(rows), "sequence_mean")


def bco_of(rows, beta, shift):
    """At the first step the running mean is this step's own."""
    pairs = pairs_of(rows)
    rewards = [beta * y.still.r for pair in pairs for y in pair]
    d = mean(rewards) if shift == "running" else 0.0
    return mean(-logsig(beta * w.r - d) - logsig(-(beta * lo.r - d)) for w, lo in pairs)


def mixed_po(rows, beta=0.1, dpo_weight=0.8, bco_weight=0.2, sft_weight=1.0, shift="running"):
    pair = dpo_weight * dpo_of(rows, beta) + bco_weight * bco_of(rows, beta, shift)
    return pair + sft_weight * nll(chosen_of(rows), "token_mean")


REDUCTIONS = ("token_mean", "sequence_mean", "sum")
SOURCES = [{"reduction": r, "source": s} for r in REDUCTIONS for s in ("sft", "gold")]
RPO = [{"beta": 0.7, "eta": 0.3, "reduction": r} for r in ("sum_beta", *REDUCTIONS[:2])]
WEIGHTS = {"dpo_weight": 0.5, "bco_weight": 0.6, "sft_weight": 0.3}

CASES = [
    *cases(sft, {}, *({"reduction": r} for r in REDUCTIONS), *SOURCES),
    *cases(sft, *({"reduction": r} for r in REDUCTIONS), rows=GROUPS),
    *cases(sft, *({"reduction": r} for r in REDUCTIONS), rows=LABELLED),
    *cases(rpo, {}, *RPO),
    *cases(rpo, *RPO, rows=GROUPS),
    *cases(iterative_rpo, {}, {"beta": 0.7, "alpha": 0.4}),
    *cases(mixed_po, {}, {"beta": 0.7, **WEIGHTS}, fields=state_of()),
    *cases(mixed_po, {"shift": "none"}, {"beta": 0.7, **WEIGHTS, "shift": "none"}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)


def test_the_three_reductions_differ_on_these_rows():
    assert len({round(nll(chosen_of(PAIRS), reduction), 6) for reduction in REDUCTIONS}) == 3
