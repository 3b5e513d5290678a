"""Rows that begin alike stand in one pass, so that what they share is computed once."""

import numpy as np

from truing.engine import PackedEngine, SharedEngine

from .rows import Tokens, random_rows


def under_system_prompts(count, own):
    """For each of some system prompts of 32 tokens `own` rows, mixed; prompts of 40 tokens."""
    rows = [
        Tokens(np.concatenate([np.full(32, 100 + system), row.prompt]), row.responses)
        for system in range(count)
        for row in random_rows(system, [(8, (3 + number, 5)) for number in range(own)])
    ]
    order = np.random.default_rng(0).permutation(len(rows))
    return [rows[number] for number in order]


def tokens_of(engine, passes, rows):
    return [engine.layout([rows[i] for i in part]).tree.num_tokens for part in passes]


def test_rows_of_one_system_prompt_stand_in_one_pass():
    rows = under_system_prompts(4, own=6)
    # Once 32, then six times a rest of 8, responses of 3 to 8, and 5.
    one = 32 + 6 * 8 + sum(range(3, 9)) + 6 * 5
    passes = SharedEngine(one).plan(rows)
    assert tokens_of(SharedEngine(one), passes, rows) == [one] * 4
    for part in passes:
        assert len({int(rows[i].prompt[0]) for i in part}) == 1
    alone = sum(40 + sum(map(len, row.responses)) for row in rows)
    assert alone - 4 * one == 4 * 5 * 32


def test_where_the_budget_cuts_a_system_prompt_each_pass_has_it_once():
    rows = under_system_prompts(2, own=12)
    engine = SharedEngine(150)
    passes = engine.plan(rows)
    sizes = tokens_of(engine, passes, rows)
    assert max(sizes) <= 150
    rests = sum(8 + sum(map(len, row.responses)) for row in rows)
    held = sum(len({int(rows[i].prompt[0]) for i in part}) for part in passes)
    assert sum(sizes) == rests + 32 * held
    assert held <= len(passes) + 1


def test_the_plan_depends_on_content_and_not_on_the_order():
    rows = under_system_prompts(3, own=5)

    def planned(engine, some):
        return [
            sorted((some[i].prompt.tobytes(), some[i].responses[0].tobytes()) for i in part)
            for part in engine.plan(some)
        ]

    for engine in (SharedEngine(200), PackedEngine(300)):
        assert planned(engine, rows) == planned(engine, rows[::-1])
