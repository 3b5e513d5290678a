"""A million pairs in bounded memory."""

import importlib.util
import json
import subprocess
import sys

import pytest

GIB = 2**30
START_S = 30  # of a run whose rows are in the cache


@pytest.fixture(scope="module")
def many(repository):
    """The module `benchmarks/many.py`."""
    spec = importlib.util.spec_from_file_location("many", repository / "benchmarks/many.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["many"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.soak
def test_a_million_pairs_take_less_than_two_gib_beside_the_model_and_begin_at_once(
    many, repository, tmp_path
):
    path = tmp_path / "many.json"
    command = [sys.executable, "benchmarks/data.py", "--many", "1000000", "--json", str(path)]
    subprocess.run(command, check=True, cwd=repository)
    found = json.loads(path.read_text())["runs"]
    assert len(found) == 3
    assert all(run["gib_beside_the_model"] < 2 for run in found.values())
    again = [run for name, run in found.items() if name.startswith("again")]
    assert len(again) == 2
    assert all(run["seconds_to_first_step"] < START_S for run in again)


def test_what_is_watched_is_a_run_of_the_rows_that_are_written(many, tmp_path, monkeypatch):
    monkeypatch.setenv("TRUING_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "rows.jsonl"
    many.write_rows(data, 40)
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    assert len({row["prompt"] for row in rows}) == 40
    run = many.watched(tmp_path, data, "simpo()")
    assert 0 < run.seconds < 300
    assert 0.05 * GIB < run.own_bytes < 4 * GIB
