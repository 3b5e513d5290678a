import math

import pytest

from truing.report.numbers import brief, duration, number, percent, signed

CASES = [
    (0.0, "0"),
    (0.31234, "0.312"),
    (-0.4211, "−0.421"),
    (1.9, "1.90"),
    (35.21, "35.2"),
    (612.4, "612"),
    (397187, "397\u202f187"),
    (-1234567.0, "−1\u202f234\u202f567"),
    (5e-7, "5·10^−7"),
    (math.nan, "not a number"),
    (-math.inf, "−∞"),
]


@pytest.mark.parametrize(("value", "text"), CASES)
def test_a_number_has_three_digits_and_a_true_minus(value, text):
    assert number(value) == text


def test_a_percentage_has_one_decimal_where_it_says_something():
    assert (percent(0.6314), percent(0.5), percent(-0.021)) == (
        "63.1\u202f%",
        "50\u202f%",
        "−2.1\u202f%",
    )


def test_brief_and_signed_numbers_end_in_no_zeros():
    assert (brief(0.1), brief(100.0), signed(0.5), signed(0), signed(-2.0)) == (
        "0.1",
        "100",
        "+0.5",
        "0",
        "−2",
    )


def test_durations_are_said_as_people_say_them():
    assert [duration(s) for s in (41.4, 185, 7800)] == ["41 s", "3 min 05 s", "2 h 10 min"]
