import json
from collections import Counter

import numpy as np
import pytest

from truing.errors import ConfigError
from truing.world import KINDS, prompts
from truing.world.labels import Labeller
from truing.world.pairs import Pair, describe_pairs, pairs, write_rows
from truing.world.pool import Candidate, groups

SHORT_AND_GOOD = Candidate("The music is dull.", finished=True, score=2.0)
LONG_AND_POOR = Candidate("word " * 60, finished=True, score=-1.0)


@pytest.fixture(scope="module")
def random_pairs():
    return pairs("train")


def test_labels_that_follow_the_score_alone_do_not_follow_length(random_pairs):
    facts = describe_pairs(random_pairs)
    assert 0.45 <= facts.longer_wins <= 0.52
    assert facts.follows_score > 0.8


def test_the_dial_moves_longer_wins_above_four_fifths():
    wins = [
        describe_pairs(pairs("train", length_bias=bias)).longer_wins for bias in (0, 0.3, 0.6, 1)
    ]
    assert wins == sorted(wins)
    assert wins[-1] > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_the_dial_works_on_every_kind_of_prompt(kind):
    low, high = (
        describe_pairs(pairs("train", kinds=(kind,), length_bias=bias)).longer_wins
        for bias in (0.0, 1.0)
    )
    assert 0.38 < low < 0.6
    assert high > 0.75


def test_gaps_of_scores_spread_from_small_to_large(random_pairs):
    low, _, median, _, high = describe_pairs(random_pairs).gaps
    assert low < 0.25 * median
    assert high > 2 * median
    assert len({round(pair.gap, 3) for pair in random_pairs}) > 500


def test_pairs_are_the_same_each_time_and_others_with_another_seed(random_pairs):
    assert pairs("train") == random_pairs
    assert pairs("train", seed=1) != random_pairs


def test_fewer_pairs_are_the_first_ones(random_pairs):
    assert pairs("train", count=100) == random_pairs[:100]


def test_the_dial_turns_labels_and_leaves_couples(random_pairs):
    def couples(some):
        return {frozenset((pair.chosen.text, pair.rejected.text)) for pair in some}

    turned = pairs("train", length_bias=1.0)
    assert len(couples(turned) & couples(random_pairs)) > 0.97 * len(turned)


def test_there_are_thousands_of_prompts_of_three_kinds_in_turn(random_pairs):
    assert len(random_pairs) > 2800
    kinds = Counter(pair.prompt.kind for pair in random_pairs)
    assert min(kinds.values()) > 900
    assert len(groups("test")) >= 1000
    assert {len(group.candidates) for group in groups("train")} == {4}


def test_splits_share_no_prompt():
    asked = {
        split: {group.prompt for group in groups(split)} for split in ("train", "tuning", "test")
    }
    assert not asked["train"] & asked["tuning"]
    assert not asked["tuning"] & asked["test"]
    assert asked["test"] <= set(prompts("test", KINDS))


def test_noise_turns_round_the_share_that_it_says():
    clean, noisy = (pairs("train", temperature=0, noise=noise) for noise in (0.0, 0.3))
    assert all(pair.gap > 0 for pair in clean)
    assert np.mean([pair.gap < 0 for pair in noisy]) == pytest.approx(0.3, abs=0.03)


def test_win_probabilities_say_how_often_labels_go_that_way():
    some = pairs("train", selection="all", temperature=2.0)
    chosen = np.array([pair.win_probability for pair in some])
    near = (np.maximum(chosen, 1 - chosen) > 0.7) & (np.maximum(chosen, 1 - chosen) < 0.8)
    assert np.mean(chosen[near] > 0.5) == pytest.approx(0.75, abs=0.03)


def test_noise_leaves_the_win_probability_of_a_couple_as_it_was(random_pairs):
    noisy = pairs("train", noise=0.2)
    for before, after in zip(random_pairs, noisy, strict=True):
        is_turned = before.chosen != after.chosen
        expected = 1 - before.win_probability if is_turned else before.win_probability
        assert after.win_probability == pytest.approx(expected)


def test_chosen_is_longer_by_selection_while_labels_still_follow_the_score():
    some = pairs("train", subset="longer")
    assert all(pair.chosen.words > pair.rejected.words for pair in some)
    assert describe_pairs(some).follows_score > 0.78
    assert len(some) > 2500
    shorter = pairs("train", subset="shorter")
    assert all(pair.chosen.words < pair.rejected.words for pair in shorter)


def test_best_against_worst_has_the_widest_gaps(random_pairs):
    widest = describe_pairs(pairs("train", selection="best_vs_worst", temperature=0))
    assert widest.gaps[2] > 1.4 * describe_pairs(random_pairs).gaps[2]


def test_all_couples_of_four_responses_are_six_a_prompt():
    some = pairs("tuning", selection="all")
    per_prompt = Counter(pair.prompt.text for pair in some)
    assert max(per_prompt.values()) == 6
    assert np.mean(list(per_prompt.values())) > 5.5


def test_no_response_that_was_cut_stands_in_a_pair(random_pairs):
    assert all(pair.chosen.finished and pair.rejected.finished for pair in random_pairs)
    everyone = [one for group in groups("train") for one in group.candidates]
    assert np.mean([one.finished for one in everyone]) > 0.99


def test_responses_to_stories_are_long_and_the_cap_is_far_above_them():
    words = [one.words for group in groups("train", ("story",)) for one in group.candidates]
    assert np.percentile(words, 95) > 90
    assert np.percentile(words, 50) > 35


def test_the_labeller_weighs_score_against_length():
    assert Labeller().win_probability(SHORT_AND_GOOD, LONG_AND_POOR) > 0.95
    assert Labeller(length_bias=1.0).win_probability(SHORT_AND_GOOD, LONG_AND_POOR) < 0.05
    assert Labeller(temperature=0).win_probability(SHORT_AND_GOOD, LONG_AND_POOR) == 1.0
    assert Labeller().win_probability(SHORT_AND_GOOD, SHORT_AND_GOOD) == 0.5


@pytest.mark.parametrize(
    "dials",
    [
        {"length_bias": 1.1},
        {"noise": 0.5},
        {"temperature": -1.0},
        {"selection": "some"},
        {"subset": "equal"},
        {"count": 100_000},
        {"kinds": ("poem",)},
        {"kinds": ("notes", "notes")},
    ],
    ids=str,
)
def test_a_dial_out_of_its_range_is_an_error(dials):
    with pytest.raises(ConfigError):
        pairs("train", **dials)


def test_rows_are_what_the_reader_of_preferences_reads(tmp_path):
    from truing.data import RowReader

    some = pairs("tuning", count=20)
    assert write_rows(tmp_path / "pairs.jsonl", some) == 20
    rows = list(RowReader(str(tmp_path / "pairs.jsonl")))
    for pair, row in zip(some, rows, strict=True):
        assert isinstance(pair, Pair)
        assert row.kind == "pair"
        assert row.prompt == pair.prompt.text
        assert row.responses == (pair.chosen.text, pair.rejected.text)
        assert row.scores[0] - row.scores[1] == pytest.approx(pair.gap, abs=1e-3)
        assert row.win_probability[0] == pytest.approx(pair.win_probability, abs=1e-5)


def test_groups_are_k_wise_rows(tmp_path):
    from truing.data import RowReader

    some = groups("tuning", count=9)
    write_rows(tmp_path / "groups.jsonl", some)
    rows = list(RowReader(str(tmp_path / "groups.jsonl")))
    assert [row.kind for row in rows] == ["kwise"] * 9
    assert len(rows[0].responses) == len(rows[0].scores) == 4
    assert json.loads((tmp_path / "groups.jsonl").read_text().splitlines()[0])["prompt"]
