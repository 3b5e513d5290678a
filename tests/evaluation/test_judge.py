"""Judges measured against people, on real labels where there are any."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from truing.errors import RowError
from truing.evaluation import Verdicts, judge_quality


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def lengths(pairs):
    return {
        f"length_{side}": np.array([len(row[side]) for row in pairs])
        for side in ("chosen", "rejected")
    }


def test_a_judge_that_follows_length_is_no_better_than_the_rule(shared):
    pairs = rows(shared / "data/preferences/llmbar/test.jsonl")
    sizes = lengths(pairs)
    longer = (sizes["length_chosen"] > sizes["length_rejected"]).astype(float)
    found = judge_quality(Verdicts(**sizes, shown_first=longer, shown_second=longer))
    assert found.estimates["accuracy"].value == pytest.approx(113 / 419)
    assert found.estimates["longer_wins"].value == pytest.approx(113 / 419, abs=0.01)
    assert found.estimates["prefers_longer"].value == 1.0
    assert found.estimates["accuracy"].high < 0.5
    assert any("cannot be told from" in note for note in found.notes)
    assert any("less often than a coin" in note for note in found.notes)


def test_on_pandalm_a_word_overlap_judge_is_told_from_length_and_agrees_with_the_voters(shared):
    pairs = rows(shared / "data/preferences/pandalm/test.jsonl")
    words = [
        {
            name: set(re.findall(r"\w+", row[name].lower()))
            for name in ("prompt", "chosen", "rejected")
        }
        for row in pairs
    ]
    shares = np.array(
        [
            [len(w["prompt"] & w[side]) / max(1, len(w[side])) for side in ("chosen", "rejected")]
            for w in words
        ]
    )
    verdict = 0.5 * (1 + np.sign(shares[:, 0] - shares[:, 1]))
    votes = np.array(
        [
            (row["score_chosen"]) / max(1, row["score_chosen"] + row["score_rejected"])
            for row in pairs
        ]
    )
    table = Verdicts(**lengths(pairs), shown_first=verdict, shown_second=verdict, votes=votes)
    found = judge_quality(table)
    assert 0 < found.estimates["accuracy"].value < 1
    assert found.estimates["consistency"].value == 1.0
    assert found.estimates["first_place"].value == pytest.approx(0.5)
    expected = np.mean(np.where(verdict == 1, votes, np.where(verdict == 0, 1 - votes, 0.5)))
    assert found.estimates["agreement_with_votes"].value == pytest.approx(expected)
    # Kappa of picks against picks: with both orders people pick each place half of the time.
    assert found.kappa == pytest.approx(kappa_by_hand(verdict), abs=1e-9)


def kappa_by_hand(verdict):
    ours = [*np.sign(verdict - 0.5), *(-np.sign(verdict - 0.5))]
    theirs = [*np.ones(len(verdict)), *(-np.ones(len(verdict)))]
    same = np.mean([a == b for a, b in zip(ours, theirs, strict=True)])
    by_chance = sum(
        np.mean(np.array(ours) == pick) * np.mean(np.array(theirs) == pick) for pick in (-1, 0, 1)
    )
    return (same - by_chance) / (1 - by_chance)


def test_position_bias_is_found_and_named():
    rng = np.random.default_rng(0)
    size = rng.integers(10, 50, (2, 200))
    # Prefers the first place in seven of ten cases, whatever stands there.
    first, second = (rng.random((2, 200)) < 0.7).astype(float)
    found = judge_quality(Verdicts(*size, shown_first=first, shown_second=1 - second))
    assert found.estimates["first_place"].value == pytest.approx(0.7, abs=0.05)
    assert (
        found.estimates["accuracy_shown_first"].value
        > found.estimates["accuracy_shown_second"].value
    )
    assert any("position bias" in note for note in found.notes)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [(1.0, 0.0, "the first place"), (0.0, 1.0, "the second place"), (0.5, 0.5, "a tie")],
)
def test_a_judge_that_always_answers_the_same_is_flagged(first, second, words):
    sizes = np.array([3, 4, 5]), np.array([4, 4, 4])
    table = Verdicts(*sizes, shown_first=np.full(3, first), shown_second=np.full(3, second))
    assert f"always says {words}" in judge_quality(table).notes[0]


def test_a_judge_that_always_takes_the_first_place_has_intervals_of_some_width():
    sizes = np.array([3, 4, 5, 6]), np.array([4, 4, 4, 4])
    found = judge_quality(Verdicts(*sizes, shown_first=np.ones(4), shown_second=np.zeros(4)))
    place = found.estimates["first_place"]
    assert (place.low, place.high) == pytest.approx((0.025 ** (1 / 4), 1.0))


def test_one_order_alone_cannot_tell_position_bias():
    sizes = np.array([3, 4, 5]), np.array([4, 4, 4])
    found = judge_quality(Verdicts(*sizes, shown_first=np.array([1.0, 0.0, 1.0])))
    assert "first_place" not in found.estimates
    assert np.isnan(found.kappa)
    assert any("one order only" in note for note in found.notes)


def test_verdicts_that_are_missing_or_out_of_range_are_refused():
    sizes = np.array([3, 4]), np.array([4, 4])
    with pytest.raises(RowError, match="no verdict"):
        Verdicts(*sizes)
    with pytest.raises(RowError, match="row 1"):
        Verdicts(*sizes, shown_first=np.array([0.5, 2.0]))


def test_the_statistics_of_judges_and_lengths_are_loaded_only_when_they_are_needed():
    loaded = "[name for name in ('sklearn', 'statsmodels') if name in sys.modules]"
    code = f"import sys, truing.evaluation; print({loaded})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
