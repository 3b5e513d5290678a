"""`truing reference verify` finds everything that is wrong, and takes nothing away."""

import json
from dataclasses import replace

import pytest

from truing.cli.show_references import show_computed, show_verified
from truing.core.progress import SILENT
from truing.errors import ConfigError, RowError
from truing.references.store import Shelf, shelves
from truing.references.stored import compared, stored_values

ROWS = {"strict": False, "skip_bad": None}


@pytest.fixture
def flags(start, pairs):
    return {"model": start, "data": str(pairs)}


def verified(capsys, flags, **options):
    is_sound = show_verified([], flags, {**ROWS, **options}, rows=4, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["sound"] == is_sound
    return found


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_damaged_shard_is_named_with_what_mends_it_and_left_where_it_is(flags, capsys):
    show_computed([], flags, ROWS, as_json=True)
    (shelf,) = shelves()
    (path,) = shelf.shards()
    capsys.readouterr()
    assert verified(capsys, flags)["faults"] == []
    flip(path)
    for _ in range(2):  # the first one has mended nothing
        found = verified(capsys, flags)
        assert found["damaged"] == {shelf.folder.name: [path.name]}
        assert "reference compute" in found["faults"][0]["fix"]
        assert found["compared"][0]["missing"] == 32
    assert path.exists()
    show_computed([], flags, ROWS, as_json=True)
    assert json.loads(capsys.readouterr().out)["computed"] == 32
    assert verified(capsys, flags)["sound"]


def test_values_that_are_not_the_models_are_named_with_the_reference(flags, capsys):
    show_computed([], flags, ROWS, as_json=True)
    capsys.readouterr()
    (shelf,) = shelves()
    shelf.refresh()
    wrong = {key: values - 1 for key, values in shelf.values().items()}
    shelf.forget()
    shelf.put(list(wrong), list(wrong.values()))
    found = verified(capsys, flags)
    assert found["faults"][0]["what"].startswith("reference: stored values are NOT")
    assert not show_verified([], flags, ROWS, rows=4, as_json=False)
    assert "fix: truing reference compute" in capsys.readouterr().out


def test_a_shelf_under_the_key_of_other_weights_is_named(source, rows, capsys):
    stored_values(source, rows[:2], SILENT)
    shelf = Shelf.of(source.key)
    note = shelf.folder / "model.json"
    facts = json.loads(note.read_text())
    note.write_text(json.dumps(facts | {"weights": "0" * 32}))
    found = verified(capsys, {})
    assert found["mislabelled"] == [shelf.folder.name]
    assert "prune --key" in found["faults"][0]["fix"]


def test_weights_other_than_remembered_are_found_by_reading_the_files(source, rows):
    fresh = replace(source.key, weights="f" * 32)
    stored_values(source, rows[:2], SILENT)
    assert compared(source, rows[:2], 2).agrees
    found = compared(replace(source, reread=lambda: fresh), rows[:2], 2)
    assert found.stale == source.key.name
    assert not found.agrees


def test_rows_that_a_run_would_skip_are_skipped(flags, pairs, tmp_path, capsys):
    data, bad = tmp_path / "rows.jsonl", tmp_path / "bad.jsonl"
    data.write_text('{"prompt": "a", "chosen": 3}\n' + pairs.read_text())
    flags = flags | {"data": str(data)}
    with pytest.raises(RowError, match="rejected"):
        show_computed([], flags, ROWS, as_json=True)
    show_computed([], flags, ROWS | {"skip_bad": bad}, as_json=True)
    assert json.loads(capsys.readouterr().out)["computed"] == 32
    assert len(bad.read_text().splitlines()) == 1
    assert verified(capsys, flags, skip_bad=bad)["compared"][0]["stored"] == 32


def test_strict_is_as_strict_as_a_run(flags, pairs, tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": "a", "chosen": "b", "rejected": "b"}\n' + pairs.read_text())
    with pytest.raises(RowError, match="left out"):
        show_computed([], flags | {"data": str(data)}, ROWS | {"strict": True}, as_json=True)


def test_options_on_rows_have_no_effect_without_a_run(tmp_path):
    with pytest.raises(ConfigError, match="no run is given"):
        show_verified([], {}, ROWS | {"strict": True}, rows=4, as_json=True)
