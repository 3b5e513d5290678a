from itertools import permutations, product

import numpy as np
import pytest

from truing.errors import ConfigError, RowError
from truing.evaluation import (
    Against,
    Judgements,
    bradley_terry,
    head_to_head,
    length_controlled,
    win_rate,
)
from truing.evaluation.judgements import from_scores


def judged(rows, models=("a", "b", "c"), **more):
    """Rows of (prompt, first, second, preference for the first)."""
    prompt, first, second, preference = (np.array(column) for column in zip(*rows, strict=True))
    first, second = (np.array([models.index(name) for name in names]) for names in (first, second))
    return Judgements(models, prompt, first, second, preference.astype(float), **more)


def test_both_orders_of_a_prompt_count_once_and_a_tie_one_half():
    table = judged(
        [(0, "a", "b", 1.0), (0, "b", "a", 0.0), (1, "a", "b", 1.0), (1, "b", "a", 1.0),
         (2, "a", "b", 0.0), (2, "b", "a", 1.0)]
    )  # fmt: skip
    found = win_rate(table, "a", "b")
    assert (found.wins, found.ties, found.losses, found.prompts) == (1, 1, 1, 3)
    assert found.win_rate.value == pytest.approx(0.5)
    assert (found.both_orders, found.swayed) == (3, 1)
    assert found.notes[-1].startswith("on 1 of 3 prompts the order decided")


def test_the_other_side_has_the_rest_of_the_wins():
    rng = np.random.default_rng(2)
    rows = [(i, "a", "b", rng.choice([0.0, 0.5, 1.0])) for i in range(50)]
    table = judged(rows)
    one, other = win_rate(table, "a", "b"), win_rate(table, "b", "a")
    assert one.win_rate.value + other.win_rate.value == pytest.approx(1)
    assert (one.wins, one.losses) == (other.losses, other.wins)


def test_a_judge_that_always_says_the_same_is_flagged():
    table = judged([(i, "a", "b", 1.0) for i in range(9)] + [(i, "b", "a", 1.0) for i in range(9)])
    found = win_rate(table, "a", "b")
    assert "always says 1" in found.notes[0]
    assert found.win_rate.value == 0.5
    assert found.swayed == 9


def test_where_one_response_always_stands_first_a_constant_judge_may_be_right():
    note = win_rate(judged([(i, "a", "b", 1.0) for i in range(9)]), "a", "b").notes[0]
    assert "`a` always stands first" in note
    assert "no information" not in note


def test_prompts_judged_in_one_order_only_are_told():
    found = win_rate(judged([(0, "a", "b", 1.0), (1, "b", "a", 0.0)]), "a", "b")
    assert "2 of 2 prompts were judged in one order only" in found.notes[0]


def test_head_to_head_holds_every_pair_that_met():
    table = judged([(0, "a", "b", 1.0), (1, "a", "c", 0.0), (2, "b", "c", 0.5)])
    found = head_to_head(table)
    assert {pair: one.win_rate.value for pair, one in found.items()} == {
        ("a", "b"): 1.0,
        ("a", "c"): 0.0,
        ("b", "c"): 0.5,
    }


def test_models_that_never_met_have_no_win_rate():
    table = judged([(0, "a", "b", 1.0)])
    with pytest.raises(RowError, match="no prompt has a verdict"):
        win_rate(table, "a", "c")
    with pytest.raises(ConfigError, match="is in no verdict"):
        win_rate(table, "a", "z")


@pytest.mark.parametrize(
    ("rows", "words"),
    [([(0, "a", "b", 1.5)], "outside 0 to 1"), ([(0, "a", "a", 1.0)], "against itself")],
)
def test_verdicts_that_make_no_sense_are_refused(rows, words):
    with pytest.raises(RowError, match=words):
        judged(rows)


STRENGTH = {"a": 0.0, "b": 1.0, "c": -0.6}
PLACE = 0.5


def drawn(prompts, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for prompt, (first, second) in product(range(prompts), permutations(STRENGTH, 2)):
        odds = STRENGTH[first] - STRENGTH[second] + PLACE
        rows.append((prompt, first, second, float(rng.random() < 1 / (1 + np.exp(-odds)))))
    return judged(rows)


def test_bradley_terry_recovers_planted_strengths_and_the_worth_of_the_first_place():
    found = bradley_terry(drawn(600), "a")
    for name in ("b", "c"):
        assert found.strength[name].low < STRENGTH[name] < found.strength[name].high
    assert found.place.low < PLACE < found.place.high
    assert found.elo("a").value == 1000
    assert found.elo("b").value == pytest.approx(1000 + 173.7 * found.strength["b"].value, abs=0.1)


def test_a_model_that_lost_everything_has_no_finite_strength_and_that_is_said():
    rows = [(i, "a", "b", float(i % 2)) for i in range(20)]
    found = bradley_terry(judged([*rows, *[(i, "a", "c", 1.0) for i in range(20)]]), "a")
    assert np.isnan(found.strength["c"].value)
    assert "`c`" in found.notes[0]
    assert np.isfinite(found.strength["b"].value)
    assert [one["model"] for one in found.to_json()["models"]][-1] == "c"


def test_strengths_need_wins_on_both_sides():
    with pytest.raises(RowError, match="nothing to rank"):
        bradley_terry(judged([(0, "a", "b", 1.0)], ("a", "b")))


def test_verdicts_of_scores_have_no_order_and_ties():
    table = from_scores(("a", "b"), np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 4.0]]))
    found = win_rate(table, "a", "b")
    assert (found.wins, found.ties, found.losses, found.swayed) == (1, 1, 1, 0)
    assert not any("one order only" in note for note in found.notes)


def test_with_constant_length_differences_length_control_is_undefined_and_says_so():
    rows = Against(np.array([1.0, 0.0, 1.0]), np.array([7, 8, 9]), np.array([5, 6, 7]))
    found = length_controlled(rows)
    assert np.isnan(found.win_rate.value)
    assert "undefined" in found.notes[0]
    assert found.to_json()["length_controlled_win_rate"] is None


def against(prompts, times, seed=4):
    """The same verdicts on each of so many prompts, each of them said several times."""
    rng = np.random.default_rng(seed)
    wins = (rng.random(prompts) < 0.6).astype(float)
    lengths = rng.integers(5, 60, (2, prompts))
    prompt = np.repeat(np.arange(prompts), times)
    return prompt, Against(wins[prompt], *lengths[:, prompt], prompt=prompt)


def width(rows):
    rate = length_controlled(rows, strength=100.0, resamples=100).win_rate
    return rate.high - rate.low


def test_several_responses_to_a_prompt_are_resampled_together():
    _, once = against(80, 1)
    prompt, often = against(80, 8)
    apart = Against(often.preference, often.length, often.length_baseline)
    # Eight copies of a verdict hold no more than one: only then is the interval as wide.
    assert width(often) == pytest.approx(width(once), rel=0.1)
    assert width(apart) < 0.6 * width(often)
    assert often.num_prompts == len(np.unique(prompt)) == 80


def test_one_prompt_gives_no_interval_and_few_give_a_strength():
    rng = np.random.default_rng(1)
    rows = rng.random(9).round(), rng.integers(5, 50, 9), rng.integers(5, 50, 9)
    alone = length_controlled(Against(*rows, prompt=np.zeros(9, int)), resamples=20)
    assert np.isfinite(alone.win_rate.value)
    assert np.isnan(alone.win_rate.low)
    three = length_controlled(Against(*rows, prompt=np.arange(9) % 3), resamples=20)
    assert three.win_rate.low <= three.win_rate.value <= three.win_rate.high
    assert any("3 instructions are too few" in note for note in three.notes)


def test_a_constant_judge_keeps_length_control_finite_and_flagged():
    rng = np.random.default_rng(0)
    rows = Against(np.ones(60), rng.integers(5, 50, 60), rng.integers(5, 50, 60))
    found = length_controlled(rows, strength=1.0, resamples=0)
    assert np.isfinite(found.win_rate.value)
    assert any("always says the same" in note for note in found.notes)


def test_under_a_constant_judge_length_control_has_no_interval():
    rng = np.random.default_rng(0)
    rows = Against(np.ones(60), rng.integers(5, 50, 60), rng.integers(5, 50, 60))
    found = length_controlled(rows, strength=100.0, resamples=20).to_json()
    assert found["length_controlled_win_rate"] > 0.5
    assert found["length_controlled_win_rate_low"] is None
    assert any("no interval" in note for note in found["notes"])


def test_difficulty_in_some_rows_only_is_refused():
    with_it = Against(np.ones(3), np.arange(3), np.ones(3), np.ones(3))
    with pytest.raises(RowError, match="some rows only"):
        length_controlled(Against(np.ones(3), np.arange(3), np.ones(3)), [with_it])
