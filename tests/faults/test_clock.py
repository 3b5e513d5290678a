"""The clock of the wall may say what it likes: order is that of steps, time that of the machine."""

import itertools
import json
import os
import shutil
import time

from safetensors.torch import load_file

from truing import train
from truing.jobs.train import resume
from truing.training import folder

A_YEAR = 365 * 86400


def weights(run):
    return load_file(run / "model.safetensors")


def same_bits(one, other):
    return all(value.equal(other[name]) for name, value in one.items())


def test_a_clock_that_jumps_for_years_changes_nothing(trained, least_in, tmp_path, monkeypatch):
    now, jumps = time.time(), itertools.cycle((0, A_YEAR, -A_YEAR, 3600))
    monkeypatch.setattr(time, "time", lambda: now + next(jumps))
    run = train(**least_in(tmp_path / "run")).output
    assert same_bits(weights(trained), weights(run))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(0 < line["seconds"] < 3600 for line in lines)


def test_the_last_checkpoint_is_that_of_the_last_step_whatever_its_date(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "finished.json").unlink()
    shutil.rmtree(run / "checkpoint-6")
    os.utime(run / "checkpoint-4", (0, 0))
    # Nothing can go on from this one, which looks the newest.
    (run / "checkpoint-2" / "optimizer.pt").unlink()
    os.utime(run / "checkpoint-2", (2e9, 2e9))
    assert resume(run).finished
    assert same_bits(weights(trained), weights(run))


def test_old_checkpoints_are_those_of_early_steps_whatever_their_date(tmp_path):
    for step in (2, 4, 10, 20):
        (tmp_path / f"checkpoint-{step}").mkdir()
        os.utime(tmp_path / f"checkpoint-{step}", (2e9 - step, 2e9 - step))
    folder.rotate(tmp_path, 3, None)
    assert [folder.step_of(path) for path in folder.checkpoints(tmp_path)] == [4, 10, 20]
    folder.rotate(tmp_path, 1, str(tmp_path / "checkpoint-4"))
    assert [folder.step_of(path) for path in folder.checkpoints(tmp_path)] == [4, 20]
    folder.rotate(tmp_path, None, None)
    assert len(list(tmp_path.iterdir())) == 2
