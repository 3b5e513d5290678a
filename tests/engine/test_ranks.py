"""Forward passes are dealt out by the tokens that each of them really takes."""

import numpy as np
import pytest

from truing.engine import PackedEngine, SharedEngine
from truing.engine.ranks import deal

from .rows import random_rows, tokens


def of_one_prompt(count, length):
    """Rows with one prompt of so many tokens, and two responses of two tokens each."""
    prompt = list(range(length))
    return [tokens(prompt, [5, number], [6, number]) for number in range(count)]


def loads(engine, passes, rows, size):
    """Tokens that each process computes."""
    dealt = deal(passes, rows, size, is_shared=isinstance(engine, SharedEngine))
    assert sorted(i for own in dealt for _, part in own for i in part) == list(range(len(rows)))
    return [
        sum(engine.layout([rows[i] for i in part]).tree.num_tokens for _, part in own if part)
        for own in dealt
    ]


def test_rows_of_one_prompt_count_it_once():
    # In tokens 70 + 10 * 4 = 110, and 120, 130, 140.
    rows = of_one_prompt(10, 70) + random_rows(1, [(n, (10,)) for n in (110, 120, 130)])
    passes = [list(range(10)), [10], [11], [12]]
    assert loads(SharedEngine(1000), passes, rows, 2) == [250, 250]


def test_a_pass_is_cut_where_its_tokens_are_halved():
    # 200 + 8 * 4 tokens of one prompt, and three rows of 104.
    rows = of_one_prompt(8, 200) + random_rows(1, [(100, (4,))] * 3)
    assert loads(SharedEngine(1000), [list(range(11))], rows, 2) == [312, 232]


def test_a_response_of_several_rows_counts_once():
    rows = [tokens([1, 2], [3] * 50)] * 2 + random_rows(1, [(n, (10,)) for n in (70, 60, 50)])
    # In tokens 52, and 80, 70, 60.
    assert loads(SharedEngine(1000), [[0, 1], [2], [3], [4]], rows, 2) == [132, 130]


@pytest.mark.parametrize("size", [2, 3])
def test_without_sharing_every_response_counts_its_prompt(size):
    draw = np.random.default_rng(0)
    rows = random_rows(2, [(int(n), (5,) * int(k)) for n, k in draw.integers(1, 9, (60, 2))])
    engine = PackedEngine(200)
    found = loads(engine, engine.plan(rows), rows, size)
    assert max(found) - min(found) < 0.1 * max(found)
