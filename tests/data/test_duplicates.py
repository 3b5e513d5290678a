"""Repeats, contradictions, near-duplicates and contamination."""

import pytest

from truing.data import read_rows
from truing.data.duplicates import (
    NEAR,
    asked,
    contamination,
    contradictions,
    distinct,
    near_duplicates,
    repeats,
)

LONG = "The quick brown fox jumps over the lazy dog while seven wise owls watch from the old oak"


def rows(*prompts):
    return list(read_rows([{"prompt": p, "chosen": " a", "rejected": " b"} for p in prompts]))


def test_a_repeated_row_is_found_with_its_first():
    [(first, again)] = repeats(rows("x", "y", "x"))
    assert (first.row, again.row) == (1, 3)


@pytest.mark.parametrize(
    "pair",
    [
        [
            {"prompt": "a", "chosen": "b", "rejected": "c"},
            {"prompt": "a", "chosen": "c", "rejected": "b"},
        ],
        [
            {"prompt": "a", "completion": "b", "label": True},
            {"prompt": "a", "completion": "b", "label": False},
        ],
    ],
)
def test_two_rows_that_say_opposite_things_contradict_each_other(pair):
    [found] = contradictions(read_rows(pair))
    assert (found.one.row, found.other.row) == (1, 2)


def test_equal_responses_with_different_scores_contradict_each_other():
    row = {"prompt": "a", "responses": ["b", "b", "c"], "scores": [1, 2, 3]}
    assert len(contradictions(read_rows([row]))) == 1
    assert not contradictions(read_rows([row | {"scores": [1, 1, 3]}]))


def test_case_and_white_space_make_no_different_prompt():
    assert len(distinct(rows("Hello  there", "hello there\n"))) == 1


def test_a_prompt_with_one_word_changed_is_a_near_duplicate_and_another_is_not():
    texts = distinct(rows(LONG * 3, LONG * 3 + " tree", "Something else altogether, in few words"))
    [twin] = near_duplicates(texts)
    assert (twin.one.row, twin.other.row) == (1, 2)
    assert NEAR <= twin.similarity < 1


def test_test_prompts_in_training_are_found_exactly_and_nearly():
    train = distinct(rows("Why?", LONG * 3))
    test = distinct(rows("why?", LONG * 3 + " tree", "Where to?"))
    exact, near = contamination(train, test)
    assert (exact.one.row, exact.other.row, exact.similarity) == (1, 1, 1.0)
    assert (near.one.row, near.other.row) == (2, 2)


def test_rows_without_a_prompt_are_compared_by_their_responses():
    one = [{"prompt": "", "chosen": "The cat sat.", "rejected": "The cat sit."}]
    assert len(distinct(read_rows([*one, *one]))) == 1
    assert [asked(row) for row in read_rows(one)] == ["the cat sat. the cat sit."]


def test_the_shared_sets_hold_what_their_readmes_count(shared):
    folder = shared / "data/preferences"
    assert len(repeats(read_rows(folder / "pandalm/train.jsonl"))) == 63
    train = distinct(read_rows(folder / "tldr-ratings/train.jsonl.gz"))
    test = distinct(read_rows(folder / "tldr-ratings/test.jsonl"))
    assert not [twin for twin in contamination(train, test) if twin.similarity == 1]
    assert len(contradictions(read_rows(shared / "data/broken/duplicate-rows.jsonl"))) == 1
