import numpy as np
import pytest

from truing.report.cards import cards, curve_cards, flattened
from truing.report.collect import Curves


def card(**numbers):
    (found,) = cards(numbers)
    return found


def test_a_win_rate_whose_interval_lies_above_one_half_is_good():
    found = card(win_rate=0.63, win_rate_low=0.56, win_rate_high=0.69)
    assert (found.finding, found.verdict) == ("above 50\u202f%", "good")
    assert found.interval == "56\u202f% to 69\u202f%"


def test_a_win_rate_whose_interval_holds_one_half_is_said_to_be_open():
    found = card(win_rate=0.55, win_rate_low=0.48, win_rate_high=0.62)
    assert (found.finding, found.verdict) == ("not told apart from 50\u202f%", "")


def test_a_win_rate_below_one_half_is_bad():
    found = card(win_rate=0.4, win_rate_low=0.33, win_rate_high=0.47)
    assert (found.finding, found.verdict) == ("below 50\u202f%", "bad")


def test_a_score_is_judged_by_the_interval_of_its_gain():
    numbers = {"score": 0.3, "score_before": -0.4, "score_gain": 0.7}
    sure = card(**numbers, score_gain_low=0.5, score_gain_high=0.9)
    unsure = card(**numbers, score_gain_low=-0.1, score_gain_high=1.5)
    assert (sure.before, sure.value, sure.verdict) == ("−0.400", "0.300", "good")
    assert "(+0.5 to +0.9)" in sure.finding
    assert unsure.verdict == ""


def test_a_longer_response_is_neither_good_nor_bad():
    numbers = {"length": 40, "length_before": 30}
    found = card(**numbers, length_gain=10, length_gain_low=8, length_gain_high=12)
    assert (found.verdict, found.unit) == ("", "tokens")


def test_a_value_whose_interval_meets_that_of_the_start_is_no_gain_yet():
    start = {
        f"reference_accuracy{end}": x for end, x in (("", 0.57), ("_low", 0.53), ("_high", 0.61))
    }
    near = card(policy_accuracy=0.6, policy_accuracy_low=0.56, policy_accuracy_high=0.64, **start)
    far = card(policy_accuracy=0.7, policy_accuracy_low=0.66, policy_accuracy_high=0.74, **start)
    assert (near.finding, near.verdict) == ("+3 points against the start", "")
    assert (far.finding, far.verdict) == ("+13 points against the start", "good")


def test_the_references_accuracy_is_what_the_policys_started_from():
    found = card(policy_accuracy=0.76, reference_accuracy=0.52)
    assert found.before == "52\u202f%"


@pytest.mark.parametrize("value", [None, "0.5", float("nan"), True])
def test_what_is_no_number_gets_no_card(value):
    assert cards({"win_rate": value}) == ()


def test_dots_and_whiskers_lie_on_the_strip():
    found = card(score=0.3, score_low=0.1, score_high=0.5, score_before=-9.0)
    ends = [x for dot in found.dots for x in (dot.at, dot.low, dot.high) if x is not None]
    assert all(0 <= end <= 100 for end in ends)
    assert [dot.role for dot in found.dots] == ["before", "after"]
    assert found.dots[0].at < found.dots[1].low < found.dots[1].at < found.dots[1].high


def test_one_value_alone_stands_in_the_middle():
    assert card(score=0.0).dots[0].at == 50


def test_inner_objects_are_read_as_if_they_stood_outside():
    nested = {"pairs": {"margin": 1.0, "score": 2.0}, "score": 3.0}
    assert flattened(nested) == {"score": 3.0, "margin": 1.0}


def test_without_an_evaluation_the_ends_of_the_curves_are_shown():
    loss = np.linspace(0.7, 0.1, 100)
    found = curve_cards(Curves(np.arange(1.0, 101.0), {"loss": loss}))
    assert [(c.title, c.before, c.value) for c in found] == [
        ("Training loss", "0.673", "0.127")  # means of the first and last ten
    ]


def test_other_numbers_with_a_start_get_a_plain_card():
    found = card(right_facts=0.7, right_facts_before=0.55)
    assert (found.title, found.before, found.value) == ("Right facts", "0.550", "0.700")
