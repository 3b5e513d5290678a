from math import log

import numpy as np
import pytest

from truing.evaluation import wording
from truing.evaluation.wording import distinct, repetition


def test_repetition_is_the_share_of_four_grams_said_before():
    assert repetition([1, 2, 3, 4, 5]) == 0
    assert repetition([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5)
    assert repetition([7] * 10) == pytest.approx(6 / 7)
    assert repetition([1, 2, 3]) == 0


def test_distinct_counts_different_n_grams_over_all_responses():
    responses = [[1, 2, 3], [1, 2, 4]]
    assert distinct(responses, 1) == pytest.approx(4 / 6)
    assert distinct(responses, 2) == pytest.approx(3 / 4)


def test_sets_are_compared_over_equally_many_tokens():
    rng = np.random.default_rng(0)
    many = rng.integers(0, 50, (100, 20)).tolist()
    assert distinct(many, 1) < distinct(many[:10], 1)
    assert distinct(many, 1, budget=200) == distinct(many[:10], 1)


def test_each_number_by_hand():
    found = wording(
        [[1, 2, 9], [1, 9], [9], [3, 3, 3, 3, 3]],
        np.array([False, False, False, True]),
        np.array([-3.0, -1.0, -0.5, -6.0]),
    ).to_json()
    assert found["length"] == pytest.approx(11 / 4)
    assert found["cut"] == 0.25
    assert found["empty"] == 0.25
    assert found["repetition"] == pytest.approx(0.5 / 4)
    assert found["surprise"] == pytest.approx(10.5 / 11)
    counts = np.array([2, 1, 5, 3]) / 11
    assert found["token_entropy"] == pytest.approx(-sum(p * log(p) for p in counts))
    assert found["distinct_responses"] == 1.0
    assert (found["length_median"], found["budget"]) == (2.5, 11)
    assert found["length_low"] <= found["length"] <= found["length_high"]
