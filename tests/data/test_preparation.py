"""From rows to examples: needs, limits, what is left out, tables, what stands beside a row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truing.core import Needs
from truing.data import (
    check_needs,
    mismatched_responses,
    partners,
    prepare,
    prepare_auxiliary,
    read_rows,
)
from truing.data.examples import Example
from truing.data.limits import POLICIES, fit
from truing.data.table import Collector
from truing.data.where import Where
from truing.errors import ConfigError, NeedsError, RowError

KWISE = {"prompt": "a", "responses": [" b", " c", " d"], "scores": [1, 3, 1]}


def unpaired(label, text=" b", **more):
    return {"prompt": "a", "completion": text, "label": label} | more


@pytest.fixture
def gpt2(tokenizer):
    return tokenizer("gpt2")


def test_a_pair_row_has_one_pair_and_its_numbers(gpt2, make_pair):
    rows = [make_pair(1, score_chosen=2, score_rejected=1, win_probability_chosen=0.75)]
    [example] = prepare(rows, gpt2, max_length=50).examples
    assert example.pairs == ((0, 1),)
    assert (example.scores, example.win_probability) == ((2.0, 1.0), (0.75, 0.25))
    assert example.labels is None
    assert example.prompt.dtype == np.int32


def test_a_kwise_row_has_all_pairs_that_its_scores_order(gpt2):
    [example] = prepare([KWISE], gpt2, max_length=50).examples
    assert example.pairs == ((1, 0), (1, 2))


def test_equal_responses_of_a_kwise_row_are_no_pair(gpt2):
    row = {"prompt": "a", "responses": [" b", " b", " c"], "scores": [2, 1, 0]}
    [example] = prepare([row], gpt2, max_length=50).examples
    assert example.pairs == ((0, 2), (1, 2))


def test_an_empty_response_of_a_kwise_row_is_taken_out_with_its_score(gpt2):
    row = {"prompt": "a", "responses": [" b", " ", " c"], "scores": [2, 1, 0]}
    prepared = prepare([row], gpt2, max_length=50)
    assert prepared.examples[0].scores == (2.0, 0.0)
    assert prepared.summary.empty_responses.count == 1


def test_kwise_rows_without_scores_stand_by_their_win_probabilities(gpt2):
    row = {"prompt": "a", "responses": [" b", " c"], "win_probabilities": [0.2, 0.8]}
    [example] = prepare([row], gpt2, max_length=50).examples
    assert example.pairs == ((1, 0),)


def test_an_unpaired_row_has_a_label_and_no_pair(gpt2):
    examples = prepare([unpaired(True), unpaired(False)], gpt2, max_length=50).examples
    assert [example.labels for example in examples] == [(True,), (False,)]
    assert examples[0].pairs == ()


def test_pairs_are_labelled_where_labels_are_needed(gpt2, make_pair):
    [example] = prepare([make_pair(1)], gpt2, max_length=50, needs=Needs(labels=True)).examples
    assert example.labels == (True, False)


@pytest.mark.parametrize(
    ("row", "needs", "column"),
    [
        ("pair", Needs(scores="any"), "`score_chosen` and `score_rejected`"),
        ("pair", Needs(win_probability=True), "`win_probability_chosen`"),
        ("pair", Needs(responses=frozenset({"unpaired"})), "`completion` and `label`"),
        ("kwise", Needs(win_probability=True), "`win_probabilities`"),
        ("kwise", Needs(labels=True), "`label`"),
        ("unpaired", Needs(responses=frozenset({"pairs", "kwise"})), "`chosen` and `rejected`"),
        ("unpaired", Needs(scores="any"), "`score`"),
    ],
)
def test_a_need_that_the_data_cannot_meet_names_the_column(row, needs, column, make_pair):
    rows = {"pair": make_pair(1), "kwise": KWISE, "unpaired": unpaired(True)}
    with pytest.raises(NeedsError) as caught:
        check_needs(read_rows([rows[row]]), needs)
    assert column in caught.value.what


def test_terms_with_no_kind_of_rows_in_common_say_so(make_pair):
    with pytest.raises(NeedsError, match="no kind of rows in common"):
        check_needs(read_rows([make_pair(1)]), Needs(responses=frozenset()))


def test_positive_scores_leave_out_rows_with_others(gpt2, make_pair):
    rows = [
        make_pair(1, score_chosen=2, score_rejected=0),
        make_pair(2, score_chosen=2, score_rejected=1),
    ]
    summary = prepare(rows, gpt2, max_length=50, needs=Needs(scores="positive")).summary
    assert summary.left_out["not_positive"].count == 1


def test_responses_that_become_equal_tokens_are_left_out(tokenizer):
    turns = [{"role": "user", "content": "Hi"}]
    row = {
        "prompt": turns,
        "chosen": [{"role": "assistant", "content": "Yes"}],
        "rejected": [{"role": "assistant", "content": "Yes "}],
    }
    k = tokenizer("smollm2-chatml")
    other = {"prompt": turns, "chosen": row["chosen"]}
    other |= {"rejected": [{"role": "assistant", "content": "No"}]}
    import copy

    k = copy.copy(k)
    k.chat_template = "{% for m in messages %}{{ m['content'] | trim }}<|im_end|>{% endfor %}"
    summary = prepare([row, other], k, max_length=50).summary
    assert (summary.rows, summary.left_out["equal"].count) == (1, 1)


# ------------------------------------------------------------------ limits
def arrays(*lengths):
    return [np.arange(length, dtype=np.int32) for length in lengths]


def test_drop_leaves_the_row_out():
    prompt, *responses = arrays(10, 5, 3)
    assert fit(prompt, tuple(responses), 14, "drop") is None


def test_keep_end_keeps_the_end_of_the_prompt_and_its_begin_token():
    prompt, *responses = arrays(10, 5, 3)
    fitted = fit(prompt, tuple(responses), 9, "keep_end", 1)
    assert fitted.prompt.tolist() == [0, 7, 8, 9]
    assert fitted.lost == 6


def test_keep_start_keeps_the_start_of_the_prompt():
    prompt, *responses = arrays(10, 5, 3)
    assert fit(prompt, tuple(responses), 9, "keep_start").prompt.tolist() == [0, 1, 2, 3]


def test_cut_shortens_only_the_responses_that_are_too_long():
    prompt, *responses = arrays(10, 5, 3)
    fitted = fit(prompt, tuple(responses), 13, "cut")
    assert [len(r) for r in fitted.responses] == [3, 3]
    assert fitted.cut == (True, False)


@pytest.mark.parametrize("policy", ["keep_end", "keep_start"])
def test_a_response_that_leaves_no_room_for_a_prompt_drops_the_row(policy):
    prompt, *responses = arrays(10, 9, 3)
    assert fit(prompt, tuple(responses), 9, policy) is None


def test_a_prompt_that_leaves_no_room_for_a_response_drops_the_row():
    prompt, *responses = arrays(10, 9, 3)
    assert fit(prompt, tuple(responses), 10, "cut") is None


@given(
    st.integers(1, 30),
    st.lists(st.integers(1, 30), min_size=1, max_size=3),
    st.integers(2, 40),
    st.sampled_from(sorted(POLICIES)),
    st.integers(0, 1),
)
def test_a_fitted_row_is_within_the_limit_and_has_tokens(prompt, lengths, limit, policy, begin):
    first, *responses = arrays(prompt, *lengths)
    fitted = fit(first, tuple(responses), limit, policy, begin)
    if fitted is None:
        assert prompt + max(lengths) > limit
    else:
        kept = [len(response) for response in fitted.responses]
        assert len(fitted.prompt) + max(kept) <= limit
        assert len(fitted.prompt) >= 1
        assert min(kept) >= 1
        assert fitted.lost == prompt + sum(lengths) - len(fitted.prompt) - sum(kept)
        assert list(fitted.cut) == [k < n for k, n in zip(kept, lengths, strict=True)]


def test_a_cut_response_has_no_end_token_and_is_marked(gpt2, make_pair):
    row = make_pair(1, chosen=" one two three four five six seven eight")
    [example] = prepare([row], gpt2, max_length=12, truncation="cut").examples
    assert example.cut == (True, False)
    assert example.responses[0][-1] != gpt2.eos_token_id
    assert example.responses[1][-1] == gpt2.eos_token_id


def test_what_was_cut_is_counted_in_rows_and_tokens(gpt2, make_pair):
    row = make_pair(1, prompt="word " * 30 + "end")
    summary = prepare([row], gpt2, max_length=20, truncation="keep_end").summary
    assert summary.shortened.count == 1
    assert summary.lost_tokens == 31 - (20 - 5)
    assert "cut to max_length (16 tokens lost): 1 row" in summary.notes[0]


def test_an_unknown_truncation_is_refused(gpt2, make_pair):
    with pytest.raises(ConfigError, match="cannot be used"):
        prepare([make_pair(1)], gpt2, max_length=20, truncation="middle")


# ------------------------------------------------------------------ the table
NUMBERS = st.none() | st.integers(1, 3)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.booleans()), max_size=6))
def test_a_table_gives_back_what_was_put_in_also_from_disk(shapes):
    examples = []
    for number, (length, count, is_full) in enumerate(shapes):
        responses = tuple(np.arange(number, number + length + i) for i in range(count))
        examples.append(
            Example(
                np.arange(length, dtype=np.int32),
                tuple(r.astype(np.int32) for r in responses),
                tuple((i, i + 1) for i in range(count - 1)),
                -number,
                Where(f"file{number % 2}", number),
                tuple(map(float, range(count))) if is_full else None,
                (True,) * count if is_full else None,
                (0.5,) * count if is_full else None,
                (is_full,) * count,
            )
        )
    for in_memory in (1000, 3):
        collector = Collector(in_memory)
        for example in examples:
            collector.add(example)
        table = collector.table()
        assert len(table) == len(examples)
        assert [_plain(e) for e in table] == [_plain(e) for e in examples]
        assert [_plain(e) for e in table[1:3]] == [_plain(e) for e in examples[1:3]]


def _plain(example):
    arrays = (example.prompt, *example.responses)
    rest = (example.pairs, example.row_id, example.where, example.scores, example.labels)
    return [a.tolist() for a in arrays], rest, example.win_probability, example.cut


def test_an_index_beyond_the_table_is_an_index_error(gpt2, make_pair):
    examples = prepare([make_pair(1), make_pair(2)], gpt2, max_length=50).examples
    assert examples[-1].row_id == examples[1].row_id
    with pytest.raises(IndexError):
        examples[2]


# ------------------------------------------------------------------ beside a row
def test_a_partner_has_another_prompt_and_does_not_depend_on_the_order_of_rows(gpt2):
    rows = [
        {"prompt": f"Number {i // 2}:", "completion": f" {i}", "label": i % 2 == 0}
        for i in range(40)
    ]
    one = prepare(rows, gpt2, max_length=50).examples
    two = prepare(rows[::-1], gpt2, max_length=50).examples
    chosen = {
        example.row_id: one[int(partner)].row_id
        for example, partner in zip(one, partners(one, 7), strict=True)
    }
    again = {
        example.row_id: two[int(partner)].row_id
        for example, partner in zip(two, partners(two, 7), strict=True)
    }
    assert chosen == again
    for index, partner in enumerate(partners(one, 7)):
        assert rows[index]["prompt"] != rows[int(partner)]["prompt"]
    assert list(partners(one, 8)) != list(partners(one, 7))


def test_a_mismatched_response_stays_within_the_limit(gpt2):
    rows = [unpaired(True, " b" * 30, prompt="x"), unpaired(False, " c", prompt="y " * 30)]
    examples = prepare(rows, gpt2, max_length=40).examples
    responses = mismatched_responses(examples, seed=0, max_length=40)
    assert [len(ids) for ids, _ in responses] == [2, 40 - len(examples[1].prompt)]
    assert [mask.all() for _, mask in responses] == [True, True]
    assert np.array_equal(responses[0][0], examples[1].responses[0])


def test_one_prompt_alone_has_no_partner(gpt2):
    examples = prepare([unpaired(True), unpaired(False, " c")], gpt2, max_length=50).examples
    with pytest.raises(NeedsError, match="all rows have the same prompt"):
        partners(examples, 0)


def test_auxiliary_text_is_learned_after_the_begin_token(tokenizer):
    k = tokenizer("stories260K")
    needs = Needs(auxiliary=frozenset({"stories"}))
    prepared = prepare_auxiliary({"stories": [{"text": "Once."}]}, k, needs, max_length=50)
    [example] = prepared["stories"].examples
    assert example.prompt.tolist() == [k.bos_token_id]
    assert k.decode(example.responses[0]) == "Once.</s>"


def test_of_auxiliary_pairs_only_the_chosen_response_is_learned(gpt2, make_pair):
    needs = Needs(auxiliary=frozenset({"sft"}))
    prepared = prepare_auxiliary({"sft": [make_pair(2)]}, gpt2, needs, max_length=50)
    [example] = prepared["sft"].examples
    assert [gpt2.decode(r[:-1]) for r in example.responses] == [" It is 4."]
    assert example.pairs == ()


def test_auxiliary_sources_are_those_that_the_objective_names(gpt2):
    with pytest.raises(NeedsError, match="auxiliary source 'sft'"):
        prepare_auxiliary({}, gpt2, Needs(auxiliary=frozenset({"sft"})), max_length=50)
    with pytest.raises(ConfigError, match="would have no effect"):
        prepare_auxiliary({"sft": [{"text": "a"}]}, gpt2, Needs(), max_length=50)


def test_nothing_left_is_an_error_that_says_why(gpt2, make_pair):
    with pytest.raises(RowError, match="no row is left to train on; left out, equal responses"):
        prepare([make_pair(1, rejected=" It is 2.")], gpt2, max_length=50)


def test_the_summary_is_plain_json(gpt2, make_pair):
    import json

    summary = prepare([make_pair(1), make_pair(2, rejected="")], gpt2, max_length=50).summary
    again = json.loads(json.dumps(summary.to_json()))
    assert again["rows"] == 1
    assert again["left_out"]["empty"]["first"] == ["rows in memory row 2"]
