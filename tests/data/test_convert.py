"""Layouts into each other, splits without leaks, subsets."""

import json

import pytest

from truing.data import read_rows
from truing.data.duplicates import asked, contamination, distinct
from truing.errors import ConfigError, RowError
from truing.jobs.convert import convert, split, subset

KWISE = {"prompt": "a", "responses": [" x", " yy", " zzz"], "scores": [1, 3, 2]}
PAIR = {"prompt": "a", "chosen": " x", "rejected": " y"}


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_pair_becomes_two_unpaired_rows(tmp_path, make_pair):
    out = tmp_path / "out.jsonl"
    written = convert([make_pair(1, score_chosen=2, score_rejected=1)], out, to="unpaired")
    assert written.files == {str(out): 2}
    assert lines(out) == [
        {"prompt": "What is 1 plus 1?", "completion": " It is 2.", "label": True, "score": 2.0},
        {"prompt": "What is 1 plus 1?", "completion": " It is 3.", "label": False, "score": 1.0},
    ]


def test_a_kwise_row_becomes_all_its_pairs_or_the_best_against_the_worst(tmp_path):
    out = tmp_path / "out.jsonl"
    convert([KWISE], out, to="pair")
    assert [(row["chosen"], row["rejected"]) for row in lines(out)] == [
        (" yy", " x"),
        (" yy", " zzz"),
        (" zzz", " x"),
    ]
    convert([KWISE], out, to="pair", pairs="best_worst")
    assert lines(out) == [
        {
            "prompt": "a",
            "chosen": " yy",
            "rejected": " x",
            "score_chosen": 3.0,
            "score_rejected": 1.0,
        }
    ]


def test_a_kwise_row_becomes_labels_by_a_threshold(tmp_path):
    out = tmp_path / "out.jsonl"
    convert([KWISE], out, to="unpaired", threshold=1.5)
    assert [row["label"] for row in lines(out)] == [False, True, True]
    with pytest.raises(ConfigError, match="scores and no labels"):
        convert([KWISE], out, to="unpaired")


def test_a_row_that_makes_no_pair_is_counted(tmp_path):
    rows = [KWISE, KWISE | {"scores": [1, 1, 1]}]
    assert convert(rows, tmp_path / "out.jsonl", to="pair").left_out == {"no pair": 1}


def test_unpaired_rows_cannot_become_pairs(tmp_path):
    with pytest.raises(ConfigError, match="stands against nothing"):
        convert([{"prompt": "a", "completion": "b", "label": True}], tmp_path / "out.jsonl")


def test_a_failed_conversion_leaves_no_file(tmp_path):
    with pytest.raises(ConfigError):
        convert([{"prompt": "a", "completion": "b", "label": True}], tmp_path / "out.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_conversations_survive_sharegpt_and_back(shared, tmp_path):
    source = shared / "data/preferences/llamafactory-demos/dpo_en_demo.json"
    convert(source, tmp_path / "pair.parquet", to="pair")
    convert(tmp_path / "pair.parquet", tmp_path / "again.json", to="ranking")
    before, after = (list(read_rows(path)) for path in (source, tmp_path / "again.json"))
    assert [row.id for row in before] == [row.id for row in after]


def test_plain_text_becomes_a_conversation_when_asked(tmp_path, make_pair):
    out = tmp_path / "out.jsonl"
    convert([make_pair(1)], out, to="ranking", conversational=True)
    assert lines(out)[0]["chosen"] == {"from": "gpt", "value": " It is 2."}
    with pytest.raises(ConfigError, match="holds conversations"):
        convert([make_pair(1)], out, to="ranking")


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.json", "out.parquet"])
def test_every_format_reads_back_as_it_was(name, tmp_path, make_pair):
    rows = [make_pair(i, score_chosen=2, score_rejected=1) for i in range(3)]
    convert(rows, tmp_path / name)
    read = list(read_rows(tmp_path / name))
    assert [(r.id, r.scores) for r in read] == [(r.id, r.scores) for r in read_rows(rows)]


def test_a_name_without_a_format_is_refused(tmp_path, make_pair):
    with pytest.raises(ConfigError, match="no format"):
        convert([make_pair(1)], tmp_path / "out.txt")


def test_a_split_leaks_no_prompt_and_keeps_every_column(shared, tmp_path):
    source = shared / "data/preferences/pandalm/train.jsonl"
    written = split(source, tmp_path, test=0.3)
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    prompts = [{row["prompt"] for row in lines(path)} for path in (train, test)]
    assert not prompts[0] & prompts[1]
    assert sum(written.files.values()) == 643
    share = len(prompts[1]) / (len(prompts[0]) + len(prompts[1]))
    assert 0.15 < share < 0.45
    kept = {json.dumps(row, sort_keys=True) for path in (train, test) for row in lines(path)}
    assert kept == {json.dumps(row, sort_keys=True) for row in lines(source)}


def test_a_split_depends_on_content_and_seed_alone(tmp_path, make_pair):
    rows = [make_pair(i) for i in range(50)]
    for name, some, seed in (("a", rows, 0), ("b", rows[::-1], 0), ("c", rows, 1)):
        split(some, tmp_path / name, test=0.5, seed=seed)
    tests = [
        {row["prompt"] for row in lines(tmp_path / name / "test.jsonl")} for name in ("a", "b", "c")
    ]
    assert tests[0] == tests[1] != tests[2]


def test_nearly_equal_prompts_stay_together_when_asked(tmp_path):
    def long(i):
        return " ".join(f"word{i}-{j}" for j in range(60))

    rows = [
        {"prompt": long(i) + end, "chosen": " a", "rejected": " b"}
        for i in range(30)
        for end in ("", " more")
    ]
    split(rows, tmp_path, test=0.5, near=True)
    train, test = (distinct(read_rows(tmp_path / f"{side}.jsonl")) for side in ("train", "test"))
    assert not contamination(train, test)


def test_a_split_with_an_empty_side_is_refused(tmp_path, make_pair):
    with pytest.raises(RowError, match="set would be empty"):
        split([make_pair(1)], tmp_path)
    with pytest.raises(ConfigError, match="not a share"):
        split([make_pair(1)], tmp_path, test=1.0)


def test_long_and_short_subsets_part_the_pairs_by_length(tmp_path, make_pair):
    rows = [make_pair(1, rejected=" " + "b" * n, chosen=" " + "a" * (10 - n)) for n in range(1, 10)]
    long, short = tmp_path / "long.jsonl", tmp_path / "short.jsonl"
    assert subset(rows, long, length="long").left_out == {"length": 5}
    subset(rows, short, length="short")
    assert all(len(row["chosen"]) > len(row["rejected"]) for row in lines(long))
    assert (len(lines(long)), len(lines(short))) == (4, 4)


def test_length_is_in_tokens_where_there_is_a_tokenizer(tmp_path, shared, make_pair):
    rows = [make_pair(1, chosen=" internationalization", rejected=" a b c d e f")]
    out, model = tmp_path / "out.jsonl", shared / "data/tokenizers/gpt2"
    assert subset(rows, out, length="long").files == {str(out): 1}
    assert subset(rows, out, length="short", model=model).files == {str(out): 1}


def test_a_subset_by_score_gap(tmp_path, make_pair):
    rows = [make_pair(i, score_chosen=i, score_rejected=0) for i in range(6)]
    out = tmp_path / "out.jsonl"
    subset(rows, out, min_gap=2, max_gap=4)
    assert [row["score_chosen"] for row in lines(out)] == [2, 3, 4]
    with pytest.raises(ConfigError, match="has no scores"):
        subset([make_pair(1)], out, min_gap=2)


def test_a_subset_per_prompt_and_of_a_size(shared, tmp_path):
    source, out = shared / "data/preferences/pandalm/train.jsonl", tmp_path / "out.jsonl"
    subset(source, out, per_prompt=2)
    counts = {}
    for row in read_rows(out):
        counts[asked(row)] = counts.get(asked(row), 0) + 1
    assert max(counts.values()) == 2
    assert len(counts) == 121
    subset(source, out, rows=100, seed=3)
    first = lines(out)
    subset(source, out, rows=100, seed=3)
    assert first == lines(out)
    assert len(first) == 100


def test_more_rows_than_there_are_cannot_be_had(tmp_path, make_pair):
    with pytest.raises(RowError, match="only 2 rows fit, and 3 are wanted"):
        subset([make_pair(1), make_pair(2)], tmp_path / "out.jsonl", rows=3)


@pytest.mark.parametrize(
    ("rows", "options", "name"),
    [
        ([KWISE], {"to": "pair", "threshold": 1.5}, "threshold"),
        ([PAIR], {"to": "unpaired", "threshold": 1.5}, "threshold"),
        ([KWISE], {"to": "unpaired", "threshold": 1.5, "pairs": "best_worst"}, "pairs"),
        ([PAIR], {"to": "pair", "pairs": "best_worst"}, "pairs"),
    ],
)
def test_an_option_that_changes_nothing_is_refused_and_nothing_is_written(
    tmp_path, rows, options, name
):
    with pytest.raises(ConfigError, match="no effect") as refused:
        convert(rows, tmp_path / "out.jsonl", **options)
    assert refused.value.where == name
    assert list(tmp_path.iterdir()) == []


def test_win_probabilities_of_a_pair_stay_its_only_numbers(tmp_path):
    out = tmp_path / "out.jsonl"
    convert([PAIR | {"win_probability_chosen": 0.75}], out, to="kwise")
    assert lines(out) == [
        {"prompt": "a", "responses": [" x", " y"], "win_probabilities": [0.75, 0.25]}
    ]


def test_tool_calls_are_not_lost_in_a_layout_of_words(tmp_path):
    call = {"type": "function", "function": {"name": "weather", "arguments": {"of": "Rome"}}}
    row = {
        "prompt": [{"role": "user", "content": "Rome?"}],
        "chosen": [{"role": "assistant", "content": "", "tool_calls": [call]}],
        "rejected": [{"role": "assistant", "content": "Who knows."}],
    }
    with pytest.raises(ConfigError, match="tool calls"):
        convert([row], tmp_path / "out.jsonl", to="ranking")


def test_a_tokenizer_that_measures_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no effect"):
        subset([PAIR], tmp_path / "out.jsonl", model="anything", rows=1)
