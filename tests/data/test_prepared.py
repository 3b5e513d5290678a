"""A large data set is prepared once: found again by what its files hold, and by nothing else."""

import os
from pathlib import Path

import numpy as np
import pytest

from truing.core import Needs
from truing.data import Source, prepare, prepared, widest
from truing.data.table import Collector
from truing.errors import RowError


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """Where it lies; every file is worth it here."""
    monkeypatch.setenv("TRUING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(prepared, "WORTHWHILE", 0)
    return tmp_path / "cache" / "prepared"


@pytest.fixture
def chat(tokenizer):
    return tokenizer("smollm2-chatml")


@pytest.fixture
def file(write, make_pair):
    def row(number, **more):
        scores = {"score_chosen": 2.0, "score_rejected": float(number % 3), "other": 1.0}
        return make_pair(number, **scores, **more)

    return write([*map(row, range(40)), row(3), row(7, rejected=" It is 14.")])


def turns_file(write):
    """Rows whose responses hold turns of others."""

    def turn(role, content):
        return {"role": role, "content": content}

    long = [turn("assistant", "Wait."), turn("user", "Well?"), turn("assistant", "Yes.")]
    rows = [
        {"prompt": [turn("user", "So?")], "chosen": long, "rejected": [turn("assistant", "No.")]},
        {"prompt": [turn("user", "Is it?")], "chosen": long[:1], "rejected": long[2:]},
    ]
    return write(rows, "turns.jsonl")


def plain(example):
    arrays = (example.prompt, *example.responses, *(example.learned or ()))
    rest = (example.pairs, example.row_id, example.where, example.scores, example.labels)
    return [a.tolist() for a in arrays], rest, example.win_probability, example.cut


def kept(place):
    return sorted(path.name for path in place.iterdir()) if place.exists() else []


def test_the_second_time_gives_the_same_rows_and_the_same_summary(file, write, chat, place):
    for source in (file, turns_file(write)):
        first, second = (prepare(source, chat, max_length=60) for _ in range(2))
        assert list(map(plain, second.examples)) == list(map(plain, first.examples))
        assert second.summary == first.summary
        assert second.summary.to_json() == first.summary.to_json()
    assert len(kept(place)) == 2


def test_the_second_time_no_row_is_read(file, chat, monkeypatch):
    prepare(file, chat, max_length=60)
    monkeypatch.setattr("truing.data.preparation._collected", None)
    assert len(prepare(file, chat, max_length=60).examples) == 41
    # Copied with another time of change it is the same file.
    os.utime(file, (1, 1))
    assert len(prepare(file, chat, max_length=60).examples) == 41


@pytest.mark.parametrize(
    "changed",
    [
        {"max_length": 14},
        {"truncation": "keep_end"},
        {"loss_turns": "last"},
        {"needs": Needs(scores="ordered")},
        {"needs": Needs(labels=True)},
        {"columns": {"score_rejected": "other"}},
    ],
)
def test_what_the_rows_depend_on_is_part_of_the_key(file, chat, place, changed):
    prepare(file, chat, max_length=60)
    prepare(file, chat, **{"max_length": 60, **changed})
    assert len(kept(place)) == 2


def test_what_the_rows_do_not_depend_on_is_none(file, chat, place):
    for needs in (Needs(), Needs(reference="sums", references=1), Needs(couples="batch")):
        prepare(file, chat, max_length=60, needs=needs)
    assert len(kept(place)) == 1


def test_another_tokenizer_other_bytes_and_another_mixture_are_other_rows(
    file, write, chat, tokenizer, place, make_pair
):
    prepare(file, chat, max_length=60)
    prepare(file, tokenizer("gpt2"), max_length=60)
    prepare([Source(file, 0.5)], chat, max_length=60)
    other = write([make_pair(1)], "other.jsonl")
    prepare([file, other], chat, max_length=60)
    text = file.read_text()
    file.write_text(text.replace("plus 1?", "plus 2?"))
    assert len(file.read_text()) == len(text)
    changed = prepare(file, chat, max_length=60)
    assert "plus 2?" in chat.decode(changed.examples[1].prompt)
    assert len(kept(place)) == 5


@pytest.mark.parametrize("name", ["ids.npy", "scores.npy", "about.json"])
def test_a_damaged_one_is_never_used_and_made_again(file, chat, place, name):
    whole = prepare(file, chat, max_length=60)
    expected = list(map(plain, whole.examples))
    (path,) = place.glob(f"*/{name}")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()  # the table that is in use keeps its own bytes
    path.write_bytes(data)
    assert list(map(plain, prepare(file, chat, max_length=60).examples)) == expected
    assert path.read_bytes() != bytes(data)


def test_rows_that_are_skipped_are_written_out_each_time(file, chat, place, tmp_path):
    file.write_text('{"prompt": 3}\n' + file.read_text())
    for name in ("one", "two"):
        prepare(file, chat, max_length=60, skip_bad=tmp_path / name)
        assert len((tmp_path / name).read_text().splitlines()) == 1
    assert not kept(place)


def test_strict_stays_strict(file, chat):
    prepare(file, chat, max_length=60)
    with pytest.raises(RowError, match="left out"):
        prepare(file, chat, max_length=60, strict=True)


def test_rows_of_a_program_and_small_files_are_not_kept(file, chat, place, make_pair, monkeypatch):
    prepare([make_pair(1)], chat, max_length=60)
    monkeypatch.setattr(prepared, "WORTHWHILE", 10**6)
    prepare(file, chat, max_length=60)
    assert not kept(place)


def test_a_cache_that_cannot_be_written_is_no_fault(file, chat, place):
    place.parent.mkdir()
    place.write_text("a file where the folder would be")
    assert len(prepare(file, chat, max_length=60).examples) == 41


def test_rows_that_may_not_fit_are_found_without_looking_at_the_others(file, chat):
    table = prepare(file, chat, max_length=60).examples
    for budget in range(20, 60, 3):
        over = [
            index
            for index, row in enumerate(table)
            if len(row.responses) * (len(row.prompt) + max(map(len, row.responses))) > budget
        ]
        assert table.over(budget).tolist() == over
    assert Collector().table().over(3).tolist() == []


def test_the_widest_example_of_a_table_is_that_of_a_list(file, chat):
    table = prepare(file, chat, max_length=60).examples
    (found,), (expected,) = widest(table), widest(list(table))
    assert found.row_id == expected.row_id
    assert widest(Collector().table()) == widest([]) == []


def test_prompts_and_responses_alone_are_those_of_the_examples(file, chat):
    table = prepare(file, chat, max_length=60).examples
    for (prompt, responses), row in zip(table.speeches(), table, strict=True):
        assert np.array_equal(prompt, row.prompt)
        assert all(map(np.array_equal, responses, row.responses))
