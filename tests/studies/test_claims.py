"""Verdicts from numbers: intervals over seeds, differences within a seed, best values by tuning."""

import math
import statistics

import pytest

from truing.studies.claims import FAILS, HOLDS, OPEN, Claim, Part, interval, together, word_of
from truing.studies.quantities import (
    AtEqualKL,
    BestApart,
    Measure,
    Minus,
    OverArms,
    ParetoShare,
    Slope,
    more,
)
from truing.studies.table import BEST, CellRow, Point, Table

T_OF_TWO_DEGREES = 4.302652729911275  # Student's 97.5 % point, from a printed table


def row(method, value, seed, arm="", fault="", **numbers):
    return CellRow(method, value, arm, seed, numbers, fault)


def test_an_interval_is_students():
    values = [0.1, 0.3, 0.8]
    reach = T_OF_TWO_DEGREES * statistics.stdev(values) / math.sqrt(3)
    found = interval(values)
    assert found.mean == pytest.approx(0.4)
    assert (found.low, found.high) == pytest.approx((0.4 - reach, 0.4 + reach))


def test_one_seed_says_nothing_of_noise():
    found = interval([3.0])
    assert (found.mean, found.seeds) == (3.0, 1)
    assert math.isnan(found.low)
    assert word_of(found, 0.0) == OPEN
    assert word_of(interval([]), 0.0) == OPEN


@pytest.mark.parametrize(
    ("values", "above", "word"),
    [
        ([1.0, 1.1, 0.9], 0.0, HOLDS),
        ([-1.0, -1.1, -0.9], 0.0, FAILS),
        ([1.0, -1.0, 0.5], 0.0, OPEN),
        ([1.0, 1.1, 0.9], 0.99, OPEN),
        ([0.0, 0.0, 0.0], 0.0, FAILS),
        ([0.0, 0.0, 0.0], -0.1, HOLDS),
    ],
)
def test_a_verdict_is_where_the_whole_interval_lies(values, above, word):
    assert word_of(interval(values), above) == word


def test_one_part_that_fails_makes_the_claim_fail():
    assert together([HOLDS, OPEN, FAILS]) == FAILS
    assert together([HOLDS, OPEN]) == OPEN
    assert together([HOLDS, HOLDS]) == HOLDS


def table_of(*rows):
    return Table(rows)


def test_the_best_value_is_chosen_by_tuning_prompts_and_reported_on_test_prompts():
    table = table_of(
        *(row("a", 1.0, seed, tuning_score=0.9, score=0.1) for seed in (0, 1)),
        *(row("a", 2.0, seed, tuning_score=0.5, score=0.8) for seed in (0, 1)),
    )
    assert table.best("a") == 1.0
    assert table.numbers(Point("a", BEST), "score") == {0: 0.1, 1: 0.1}


def test_a_value_at_which_a_run_stopped_itself_is_never_the_best():
    table = table_of(
        row("a", 1.0, 0, tuning_score=0.9),
        row("a", 1.0, 1, fault="the loss is nan"),
        *(row("a", 2.0, seed, tuning_score=0.5) for seed in (0, 1)),
    )
    assert table.best("a") == 2.0


def test_a_difference_is_taken_within_a_seed():
    table = table_of(
        row("a", None, 0, score=1.0), row("a", None, 1, score=11.0), row("a", None, 2, score=5.0),
        row("b", None, 0, score=0.5), row("b", None, 1, score=10.5),
    )  # fmt: skip
    found = more(Point("a"), Point("b"), "score").per_seed(table)
    assert found == {0: 0.5, 1: 0.5}
    claim = Claim("a is above b", (Part("difference", more(Point("a"), Point("b"), "score")),))
    assert claim.judge(table).word == HOLDS
    turned = Minus(Measure(Point("b"), "score"), Measure(Point("a"), "score"))
    assert Claim("b is above a", (Part("difference", turned),)).judge(table).word == FAILS


def line(method, points, seed=0):
    return [row(method, float(i + 1), seed, kl=kl, score=s) for i, (kl, s) in enumerate(points)]


def test_equal_kl_is_where_both_have_been():
    # a: score = 2 kl on 0..4; b: score = kl on 2..6. Together 2..4, where a is 2..4 above b.
    table = table_of(*line("a", [(0, 0), (4, 8)]), *line("b", [(2, 2), (6, 6)]))
    assert AtEqualKL("a", "b").per_seed(table) == {0: pytest.approx(3.0)}
    apart = table_of(*line("a", [(0, 0), (1, 1)]), *line("b", [(2, 2), (6, 6)]))
    assert AtEqualKL("a", "b").per_seed(apart) == {}


def test_a_share_of_the_frontier_is_held_against_the_share_of_points():
    table = table_of(*line("a", [(1, 1), (2, 2)]), *line("b", [(1.5, 0.5), (2.5, 1.5)]))
    assert ParetoShare("a", ("a", "b")).per_seed(table) == {0: pytest.approx(0.5)}
    assert ParetoShare("b", ("a", "b")).per_seed(table) == {0: pytest.approx(-0.5)}


def test_a_slope_is_of_powers_of_ten():
    rows = [row("a", value, 3, length=y) for value, y in ((0.1, 10.0), (1.0, 7.0), (10.0, 4.0))]
    assert Slope("a", "length").per_seed(Table(tuple(rows))) == {3: pytest.approx(-3.0)}


def test_a_course_over_arms_correlates_with_a_fact_of_the_data():
    rows = []
    for arm, push, gain in (("x", -0.4, 8.0), ("y", 0.0, 1.0), ("z", 0.3, -5.0)):
        rows.append(row("a", 1.0, 0, arm, tuning_score=0, length=30 + gain, data_end_push=push))
        rows.append(row("b", 1.0, 0, arm, tuning_score=0, length=30, data_end_push=push))
    found = OverArms("a", "b", "length", "data_end_push", factor=-1.0).per_seed(Table(tuple(rows)))
    assert found[0] > 0.95


def test_how_far_best_values_lie_apart_is_chosen_seed_by_seed():
    rows = [
        row(method, value, 0, tuning_score=-abs(math.log10(value) - best))
        for method, best in (("near", 0.0), ("start", -2.0))
        for value in (0.01, 0.1, 1.0)
    ]
    assert BestApart("near", "start").per_seed(Table(tuple(rows))) == {0: pytest.approx(2.0)}
