"""A grid of runs: every combination once, the same after a kill, sorted with intervals."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from truing.errors import ConfigError, KnobError
from truing.jobs.sweep import child_environment, sweep
from truing.jobs.sweep_grid import axes_of, axis, points, with_knob

BASE = {"model": "m", "data": "d"}


def test_values_part_at_commas_outside_brackets_and_quotes():
    assert axis("learning_rate=1e-6,5e-6").values == ("1e-6", "5e-6")
    two = axis("objective=dpo(beta=0.1),mrpo(weights=[0.5, 0.5]) + 0.2*sft()")
    assert two.values == ("dpo(beta=0.1)", "mrpo(weights=[0.5, 0.5]) + 0.2*sft()")
    assert axis("objective=dpo(beta=0.1); sampo(beta=0.1)").values[1] == "sampo(beta=0.1)"
    assert axis('data="a,b.jsonl",c.jsonl').values == ('"a,b.jsonl"', "c.jsonl")
    for wrong in ("epochs", "epochs=", "epochs=1,,2", "epochs=1,1"):
        with pytest.raises(ConfigError):
            axis(wrong)


def test_every_combination_is_a_run_and_its_name_does_not_depend_on_the_others():
    grid = points(BASE, axes_of(["objective=dpo();simpo()", "seed=0,1,2"]))
    assert len({point.name for point in grid}) == 6
    turned = points(BASE, axes_of(["seed=2", "objective=simpo(),dpo()"]))
    assert {point.name.rpartition("_")[2] for point in turned} < {
        point.name.rpartition("_")[2] for point in grid
    }


def test_a_knob_goes_into_every_objective_of_the_grid():
    grid = points(BASE, axes_of(["objective.beta=0.2,0.3", "objective=dpo();sampo() + 0.2*sft()"]))
    assert [point.values["objective"] for point in grid] == [
        "dpo(beta=0.2)",
        "sampo(beta=0.2) + 0.2*sft()",
        "dpo(beta=0.3)",
        "sampo(beta=0.3) + 0.2*sft()",
    ]
    assert with_knob("dpo() + sampo()", "sampo.beta", "1.0") == "dpo() + sampo(beta=1.0)"
    with pytest.raises(KnobError, match=r"objective\.dpo\.beta, objective\.sampo\.beta"):
        with_knob("dpo() + sampo()", "beta", "1.0")
    with pytest.raises(KnobError, match="none of its recipes has the knob gamma"):
        with_knob("dpo()", "gamma", "1.0")


def test_a_wrong_point_is_told_before_any_run(least, tmp_path):
    for items, sentence in (
        (["objective.beta=0.1,-1"], "must be greater than 0"),
        (["epochs=1,-1"], "epochs=-1"),
        (["seed=1", "seed=2"], "given twice"),
        (["output=a,b"], "makes the folders itself"),
        (["seed=1,2"], "held-out rows"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            sweep(least, axes_of(items), tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()


def test_runs_share_the_devices_and_threads_that_they_were_given():
    seen = [child_environment({"CUDA_VISIBLE_DEVICES": "2,5"}, place, 2, 4) for place in range(4)]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in seen] == ["2", "5", "2", "5"]
    assert child_environment({}, 1, 2, 2)["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in child_environment({}, 1, 0, 2)
    assert child_environment({"OMP_NUM_THREADS": "3"}, 0, 0, 2)["OMP_NUM_THREADS"] == "3"


@pytest.fixture(scope="module")
def swept(least, world_pairs, tmp_path_factory):
    """Two rates of which one does nothing; the second call finds both done."""
    output = tmp_path_factory.mktemp("swept") / "sweep"
    base = {**least, "evaluation": {"data": str(world_pairs), "samples": 0}}
    axes = axes_of(["learning_rate=1e-12,3e-3"])
    return base, axes, output, sweep(base, axes, output)


def test_the_best_run_stands_first_with_its_interval(swept):
    _, _, output, result = swept
    first, second = (line.numbers for line in result.lines)
    assert result.measure == "reward_accuracy"
    assert result.best.settings == {"learning_rate": "3e-3"}
    assert first["reward_accuracy_low"] > second["reward_accuracy"] - 0.5
    assert first["margin"] > second["margin"]
    assert json.loads((output / "results.json").read_text())["runs"][0]["name"] == result.best.name
    assert (output / "compare.html").stat().st_size > 10_000


def test_a_finished_run_is_not_trained_again_and_a_lost_one_is(swept):
    base, axes, output, result = swept
    kept, lost = (output / "runs" / line.name for line in result.lines)
    before = (kept / "metrics.jsonl").stat().st_mtime_ns
    (lost / "finished.json").unlink()
    again = sweep(base, axes, output, sort="margin")
    assert [line.name for line in again.lines] == [line.name for line in result.lines]
    assert (kept / "metrics.jsonl").stat().st_mtime_ns == before
    assert (lost / "finished.json").exists()


def test_an_unknown_measure_is_refused_with_those_that_there_are(swept):
    base, axes, output, _ = swept
    with pytest.raises(ConfigError, match=r"no number nonsense(.|\n)*reward_accuracy"):
        sweep(base, axes, output, sort="nonsense")


def test_an_unknown_measure_is_told_after_the_first_run(swept, tmp_path):
    base, axes, *_ = swept
    with pytest.raises(ConfigError, match="no number nonsense"):
        sweep(base, axes, tmp_path / "sweep", sort="nonsense")
    assert len(list((tmp_path / "sweep" / "runs").iterdir())) == 1


@pytest.mark.soak
def test_two_at_a_time_give_what_one_after_the_other_gives(swept, tmp_path):
    base, axes, _, result = swept
    both = sweep(base, axes_of(["learning_rate=1e-12,3e-3"]), tmp_path / "sweep", jobs=2)
    assert [line.numbers["margin"] for line in both.lines] == pytest.approx(
        [line.numbers["margin"] for line in result.lines], rel=1e-4
    )
    del axes


@pytest.mark.soak
def test_a_run_that_stops_itself_is_a_line_and_the_others_go_on(swept, tmp_path):
    base, *_ = swept
    result = sweep(base, axes_of(["learning_rate=1e30,1e-6"]), tmp_path / "sweep", jobs=2)
    assert [bool(line.fault) for line in result.lines] == [False, True]
    assert "finite" in result.lines[1].fault or "nan" in result.lines[1].fault


def a_sweep(base, output, axes):
    """The command in a process group of its own, as a shell starts it."""
    keys = [f"{key}={value}" for key, value in base.items() if key not in {"evaluation", "seed"}]
    held = [f"evaluation.{key}={value}" for key, value in base["evaluation"].items()]
    command = [sys.executable, "-m", "truing", "sweep", *keys, *held, *axes, "--jobs", "2"]
    return subprocess.Popen(
        [*command, "--output", str(output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.soak
def test_ctrl_c_ends_both_runs_with_a_checkpoint_and_the_same_command_goes_on(swept, tmp_path):
    base, *_ = swept
    base, axes = {**base, "epochs": 20}, ["seed=0,1"]
    first = a_sweep(base, tmp_path / "sweep", axes)
    until = time.monotonic() + 120
    while time.monotonic() < until and first.poll() is None:
        if len(list(tmp_path.glob("sweep/runs/*/metrics.jsonl"))) == 2:
            break
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGINT)
    _, said = first.communicate(timeout=120)
    assert first.returncode == 130, said
    assert "the same command" in said
    runs = list(tmp_path.glob("sweep/runs/*"))
    assert all(list(run.glob("checkpoint-*")) for run in runs)
    second = a_sweep(base, tmp_path / "sweep", axes)
    shown, said = second.communicate(timeout=200)
    assert second.returncode == 0, said
    assert all((run / "finished.json").exists() for run in runs)
    assert shown.splitlines()[0].startswith("seed\t")
