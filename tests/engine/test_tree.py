"""Rows become one packed row: each token once, at the right position, seeing the right tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truing.engine import PackedEngine, SharedEngine
from truing.engine.layout import copy_prompts, share_prefixes
from truing.errors import FitError

from .rows import tokens

BLOCK = 2

# Few values, so that prompts often begin alike and responses repeat.
ids = st.lists(st.integers(0, 2), min_size=1, max_size=9)
some_rows = st.lists(
    st.builds(lambda p, rs: tokens(p, *rs), ids, st.lists(ids, min_size=1, max_size=4)),
    min_size=1,
    max_size=7,
)


def seen_by(tree, token):
    """The tokens that one token attends to, root first."""
    reach = tree.reach
    return [k for k in range(token + 1) if token < reach[k]]


@given(some_rows)
def test_every_response_token_sees_its_own_sequence_and_nothing_else(rows):
    for packed in (share_prefixes(rows, BLOCK), copy_prompts(rows)):
        spans = iter(packed.responses)
        for row in rows:
            for response in row.responses:
                start, end = next(spans)
                seen = seen_by(packed.tree, end - 1)
                assert packed.ids[seen].tolist() == [*row.prompt, *response]
                assert packed.tree.positions[seen].tolist() == list(range(len(seen)))
                assert end - start == len(response)


@given(some_rows)
def test_each_token_is_predicted_by_the_one_before_it_in_its_sequence(rows):
    for packed in (share_prefixes(rows, BLOCK), copy_prompts(rows)):
        for token, predictor in enumerate(packed.tree.predictors):
            before = seen_by(packed.tree, token)[:-1]
            assert predictor == (before[-1] if before else -1)


@given(some_rows)
def test_the_keys_of_a_segment_are_those_its_last_token_sees(rows):
    tree = share_prefixes(rows, BLOCK).tree
    for index, segment in enumerate(tree.segments):
        assert tree.keys(index).tolist() == seen_by(tree, segment.end - 1)


@given(some_rows)
def test_prompt_tokens_are_those_of_each_row_but_the_first(rows):
    for packed in (share_prefixes(rows, BLOCK), copy_prompts(rows)):
        expected = np.concatenate([row.prompt[1:] for row in rows])
        assert packed.ids[packed.prompt_tokens].tolist() == expected.tolist()
        counts = np.bincount(packed.prompt_rows, minlength=len(rows))
        assert counts.tolist() == [len(row.prompt) - 1 for row in rows]


@given(some_rows)
def test_a_prompt_stands_once_and_so_does_a_response_to_it(rows):
    packed = share_prefixes(rows, BLOCK)
    distinct = {(tuple(row.prompt), tuple(r)) for row in rows for r in row.responses}
    assert len(set(packed.responses)) == len(distinct)


def test_prompts_that_begin_alike_share_whole_blocks():
    rows = [tokens([5, 6, 7, 8, 1], [1]), tokens([5, 6, 7, 8, 2], [1]), tokens([5, 6, 9], [1])]
    tree = share_prefixes(rows, BLOCK).tree
    assert [(s.length, s.parent) for s in tree.segments] == [
        (2, -1),
        (2, 0),
        (1, 1),
        (1, 2),
        (1, 1),
        (1, 4),
        (1, 0),
        (1, 6),
    ]


def test_a_prompt_that_is_the_beginning_of_another_keeps_its_responses():
    rows = [tokens([5, 6], [1, 2]), tokens([5, 6, 7, 8], [3])]
    packed = share_prefixes(rows, BLOCK)
    assert packed.ids.tolist() == [5, 6, 1, 2, 7, 8, 3]
    assert [s.parent for s in packed.tree.segments] == [-1, 0, 0, 2]


def test_a_chain_of_a_thousand_growing_prompts_is_laid_out():
    rows = [tokens(range(BLOCK * length), [0]) for length in range(1, 1051)]
    assert share_prefixes(rows, BLOCK).tree.num_tokens == BLOCK * 1050 + 1050


def test_the_layout_does_not_depend_on_the_value_of_a_response_token():
    one = [tokens([5, 6, 7], [1, 2], [3]), tokens([5, 6, 8], [4, 4])]
    other = [tokens([5, 6, 7], [9, 2], [3]), tokens([5, 6, 8], [4, 4])]
    assert share_prefixes(one, BLOCK).tree == share_prefixes(other, BLOCK).tree


# ------------------------------------------------------------------ passes
ENGINES = [SharedEngine(24, block=BLOCK), PackedEngine(60)]


@given(some_rows, st.sampled_from(ENGINES))
def test_a_plan_holds_every_row_once_and_keeps_to_the_budget(rows, engine):
    fits = [row for row in rows if engine.layout([row]).tree.num_tokens <= engine.tokens_per_device]
    passes = engine.plan(fits)
    assert sorted(i for indices in passes for i in indices) == list(range(len(fits)))
    for indices in passes:
        tree = engine.layout([fits[i] for i in indices]).tree
        assert tree.num_tokens <= engine.tokens_per_device


@given(some_rows, st.sampled_from(ENGINES), st.randoms())
def test_a_plan_depends_on_the_content_of_the_rows_alone(rows, engine, random):
    rows = [row for row in rows if engine.layout([row]).tree.num_tokens <= engine.tokens_per_device]
    mixed = random.sample(rows, len(rows))
    for one, other in zip(engine.plan(rows), engine.plan(mixed), strict=True):
        contents = [
            [(rs[i].prompt.tolist(), [r.tolist() for r in rs[i].responses]) for i in indices]
            for rs, indices in ((rows, one), (mixed, other))
        ]
        assert contents[0] == contents[1]


def test_rows_with_one_prompt_come_into_one_pass():
    rows = [tokens([i, i, i, i], [1, 2]) for i in (3, 4, 5)] * 3
    passes = SharedEngine(10, block=BLOCK).plan(rows)
    assert [{int(rows[i].prompt[0]) for i in indices} for indices in passes] == [{3}, {4}, {5}]


def test_first_fit_leaves_no_pass_that_another_has_room_for():
    rows = [tokens([0] * length, [1]) for length in (6, 5, 4, 3, 2, 1)]
    assert len(PackedEngine(9).plan(rows)) == 3


@pytest.mark.parametrize(
    ("engine", "needs"), [(SharedEngine(16), 17), (PackedEngine(16), 27), (SharedEngine(2), 17)]
)
def test_a_row_over_the_budget_is_an_error_that_says_what_it_needs(engine, needs):
    row = tokens([0] * 10, [1, 2, 3], [4, 5, 6, 7])
    with pytest.raises(FitError, match=f"{needs} tokens.*budget of {engine.tokens_per_device}"):
        engine.plan([row])
