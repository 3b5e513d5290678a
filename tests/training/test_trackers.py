"""Trackers are told what metrics.jsonl says, step by step, and the run's own keys."""

import importlib.util
import json
import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from truing.errors import ConfigError
from truing.training.trackers import refuse_missing_trackers
from truing.world import model_folder

SECRETS = ("sk-nobodys-business", "hf_nobodys_business", "tracker-nobodys-business")


def test_tensorboard_shows_every_metric_of_every_step(run_on, sentence):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    pairs = [(sentence(i, 4), sentence(100 + i, 6)) for i in range(12)]
    trainer = {"save_strategy": "no", "report_to": "tensorboard"}
    run = run_on(pairs, objective="dpo(beta=0.5)", trainer=trainer)
    (file,) = run.rglob("events.out.tfevents.*")
    shown = events.EventAccumulator(str(file)).Reload()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 3
    (settings,) = shown.Tensors("args/text_summary")
    told = json.loads(settings.tensor_proto.string_val[0])
    assert told["truing/objective"] == "dpo(beta=0.5)"
    assert told["truing/checks/memory"] == "halve"
    assert told["learning_rate"] == 1e-6
    assert "own" not in told
    for name in ("loss", "rewards/accuracies", "rewards/margins", "grad_norm"):
        told = [(event.step, event.value) for event in shown.Scalars(f"train/{name}")]
        assert told == [(line["step"], pytest.approx(line[name], rel=1e-3)) for line in lines], name


@pytest.mark.parametrize(
    ("report_to", "word"),
    [("tensorbord", "did you mean tensorboard"), (["none", "x"], "take tensorboard, wandb")],
)
def test_a_tracker_that_there_is_not_is_refused(report_to, word):
    with pytest.raises(ConfigError, match=word):
        refuse_missing_trackers(report_to)


def test_a_tracker_without_its_package_is_refused_with_the_way_to_get_it():
    with pytest.raises(ConfigError, match=r"neptune is not installed(.|\n)*truing\[trackers\]"):
        refuse_missing_trackers("neptune")


@pytest.mark.parametrize("report_to", [None, "none", [], ["none"], "all"])
def test_nobody_and_everybody_there_is_are_taken(report_to):
    refuse_missing_trackers(report_to)


@pytest.fixture
def tracked(sentence, tmp_path):
    """A run of the command with a recipe file that names a tracker, keys in its environment."""

    def run(tracker: str, **environment: str) -> list[dict[str, float]]:
        if importlib.util.find_spec(tracker) is None:
            pytest.skip(f"{tracker} is not installed: pip install 'truing[trackers]'")
        rows = [
            {"prompt": f"Is it {i}?", "chosen": sentence(i, 4), "rejected": sentence(99 + i, 6)}
            for i in range(12)
        ]
        (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / "recipe.yaml").write_text(
            f"model: {model_folder()}\ndata: pairs.jsonl\nobjective: sampo(beta=0.5)\n"
            f"pairs_per_step: 4\nlearning_rate: 3e-4\noutput: run\n"
            f"trainer:\n  save_strategy: no\n  report_to: {tracker}\n"
        )
        names = ("OPENAI_API_KEY", "HF_TOKEN", "WANDB_API_KEY")
        ended = subprocess.run(
            [sys.executable, "-m", "truing", "train", "recipe.yaml", "--json"],
            cwd=tmp_path,
            env={**os.environ, **dict(zip(names, SECRETS, strict=True)), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        # What trackers print is no result.
        assert json.loads(ended.stdout)["steps"] == 3
        return [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]

    return run


def assert_no_secret(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files for one in SECRETS if one.encode() in path.read_bytes()]


def records(file: Path) -> Iterator[bytes]:
    """Of a log as LevelDB writes it, behind a head of its own: pieces in blocks of 32 KiB."""
    data, at, found = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if at % 2**15 > 2**15 - 7:  # no piece begins so near to the end of a block
            at += 2**15 - at % 2**15
            continue
        size, kind = struct.unpack_from("<HB", data, at + 4)
        found += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last piece
            yield found
            found = b""


def test_wandb_is_told_metrics_and_keys_and_no_secret(tracked, tmp_path):
    lines = tracked("wandb", WANDB_MODE="offline", WANDB_DIR=str(tmp_path))
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    history, settings = [], {}
    for data in records(file):
        record = Record.FromString(data)
        items = record.history.item
        found = {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in items}
        history += [found] if "train/loss" in found else []
        updates = (*record.run.config.update, *record.config.update)
        settings |= {one.key: json.loads(one.value_json) for one in updates}
    assert settings["truing/objective"] == "sampo(beta=0.5)"
    assert settings["truing/data"] == "pairs.jsonl"
    for name in ("loss", "rewards/margins", "grad_norm"):
        told = [(row["train/global_step"], row[f"train/{name}"]) for row in history]
        assert told == [(line["step"], pytest.approx(line[name], rel=1e-3)) for line in lines], name
    assert_no_secret(tmp_path)


def test_mlflow_is_told_metrics_and_keys_and_no_secret(tracked, tmp_path):
    lines = tracked("mlflow", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/told.db")
    with closing(sqlite3.connect(tmp_path / "told.db")) as found:
        assert found.execute("SELECT status FROM runs").fetchall() == [("FINISHED",)]
        settings = dict(found.execute("SELECT key, value FROM params").fetchall())
        assert settings["truing/objective"] == "sampo(beta=0.5)"
        assert settings["truing/data"] == "pairs.jsonl"
        for name in ("loss", "rewards/margins", "grad_norm"):
            asked = "SELECT step, value FROM metrics WHERE key = ? ORDER BY step"
            told = found.execute(asked, (name,)).fetchall()
            assert told == [(x["step"], pytest.approx(x[name], rel=1e-3)) for x in lines], name
    assert_no_secret(tmp_path)
