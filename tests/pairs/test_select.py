"""Selectors against their definitions written out, prompt by prompt, in plain Python."""

import itertools
import math

import numpy as np
import pytest

from truing.errors import KnobError
from truing.pairs import parse_selector
from truing.pairs.select import Pairs, Scores

ROWS = [
    [0.3, 1.7, -0.2, 1.7],
    [2.0, 2.0, 2.0, 2.0],
    [0.5, math.nan, -3.0, 4.0],
    [1.0, math.nan, math.nan, math.nan],
    [math.nan] * 4,
    [5.0, 1.0, 0.9, -6.0],
]


@pytest.fixture
def scores():
    values = np.array(ROWS)
    return Scores(values, np.isfinite(values))


def picked(expression, scores):
    found = parse_selector(expression)(scores)
    assert isinstance(found, Pairs)
    return list(
        zip(found.row.tolist(), found.chosen.tolist(), found.rejected.tolist(), strict=True)
    )


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def ordered_pairs(row):
    known = [i for i, value in enumerate(row) if not math.isnan(value)]
    return [(i, j) for i, j in itertools.permutations(known, 2) if row[i] > row[j]]


def test_best_stands_against_worst(scores):
    assert picked("best_vs_worst()", scores) == [(0, 1, 2), (2, 3, 2), (5, 0, 3)]


def test_a_narrow_gap_gives_no_pair(scores):
    assert picked("best_vs_worst(min_gap=7.0)", scores) == [(5, 0, 3)]


@pytest.mark.parametrize("gap", [0.0, 1.0, 4.9])
def test_all_pairs_are_those_with_a_wide_gap(scores, gap):
    wanted = {
        (n, i, j)
        for n, row in enumerate(ROWS)
        for i, j in ordered_pairs(row)
        if row[i] - row[j] > gap
    }
    assert set(picked(f"all_pairs(min_gap={gap})", scores)) == wanted


@pytest.mark.parametrize(("eta", "tau"), [(0.5, 1.0), (0.9, 1.0), (0.9, 0.3), (0.7, 4.0)])
def test_rs_dpo_takes_the_pairs_that_the_scores_are_sure_of(scores, eta, tau):
    wanted = {
        (n, i, j)
        for n, row in enumerate(ROWS)
        for i, j in ordered_pairs(row)
        if sigmoid((row[i] - row[j]) / tau) > eta
    }
    assert set(picked(f"rs_dpo(eta={eta}, tau={tau})", scores)) == wanted


def test_rs_dpo_keeps_the_widest_of_a_prompt(scores):
    of_last = [(i, j) for n, i, j in picked("rs_dpo(eta=0.5, max_pairs=2)", scores) if n == 5]
    assert of_last == [(0, 3), (1, 3)]


def test_a_larger_eta_gives_a_part_of_the_pairs(scores):
    assert set(picked("rs_dpo(eta=0.95)", scores)) < set(picked("rs_dpo(eta=0.6)", scores))


def test_the_best_few_stand_against_the_worst(scores):
    assert [p for p in picked("top_k(k=2)", scores) if p[0] in {0, 5}] == [
        (0, 1, 2),
        (0, 3, 2),
        (5, 0, 3),
        (5, 1, 3),
    ]


def test_the_best_few_alone_are_rows_of_one_response(scores):
    kept = parse_selector("top_k(k=2, alone=True)")(scores)
    assert not kept.together
    assert kept.kept.tolist()[0] == [False, True, False, True]
    assert kept.kept.sum(axis=1).tolist() == [2, 2, 2, 1, 0, 2]


def test_win_rates_are_means_of_sigmoids_over_the_samples(scores):
    found = parse_selector("win_rates(tau=0.5)")(scores)
    for number, (n, i, j) in enumerate(zip(found.row, found.chosen, found.rejected, strict=True)):
        known = [value for value in ROWS[n] if not math.isnan(value)]
        for side, index in enumerate((i, j)):
            wanted = sum(sigmoid((ROWS[n][index] - s) / 0.5) for s in known) / len(known)
            assert found.win[number, side] == pytest.approx(wanted, abs=1e-12)


def test_win_rates_can_be_against_the_first_few(scores):
    found = parse_selector("win_rates(k=1)")(scores)
    assert found.win[0].tolist() == pytest.approx([sigmoid(1.4), sigmoid(-0.5)])


def test_win_rates_of_a_judge_are_taken_as_they_are():
    values = np.array([[0.9, 0.2, 0.4]])
    found = parse_selector("win_rates(as_given=True)")(Scores(values, np.isfinite(values)))
    assert found.win.tolist() == [[0.9, 0.2]]


def test_kwise_leaves_out_prompts_without_an_order(scores):
    kept = parse_selector("kwise()")(scores).kept
    assert kept.any(axis=1).tolist() == [True, False, True, False, False, True]


@pytest.mark.parametrize("name", ["best_vs_worst", "all_pairs", "rs_dpo", "top_k", "win_rates"])
def test_what_is_not_eligible_stands_in_no_pair(name):
    values = np.array([[9.0, 1.0, 0.0, -9.0]])
    found = parse_selector(f"{name}()")(Scores(values, np.array([[False, True, True, False]])))
    assert {*found.chosen.tolist(), *found.rejected.tolist()} <= {1, 2}


@pytest.mark.parametrize("name", ["best_vs_worst", "all_pairs", "rs_dpo", "top_k", "win_rates"])
def test_no_prompt_with_a_response_gives_no_pair(name):
    nothing = Scores(np.zeros((3, 0)), np.zeros((3, 0), dtype=bool))
    if name in {"all_pairs", "rs_dpo"}:
        assert picked(f"{name}()", nothing) == []


@pytest.mark.parametrize(
    "expression",
    ["rs_dpo(eta=0.4)", "rs_dpo(eta=1.0)", "rs_dpo(tau=0.0)", "top_k(k=0)",
     "win_rates(k=2, as_given=True)", "best()", "all_pairs(min_gap=-1)"],
)  # fmt: skip
def test_a_knob_out_of_its_range_is_refused(expression):
    with pytest.raises(KnobError):
        parse_selector(expression)


@pytest.mark.parametrize(
    "expression",
    ["rs_dpo(eta=0.8, tau=2.0, max_pairs=3)", "top_k(k=2, alone=True)", "kwise()",
     "win_rates(k=4)", "all_pairs(min_gap=0.5)", "best_vs_worst()"],
)  # fmt: skip
def test_a_selector_prints_as_it_is_written(expression):
    assert repr(parse_selector(expression)) == expression
