"""The best step kept, early stopping, and both exact after a kill."""

import json
import shutil

import pytest
from safetensors.torch import load_file

from truing import train
from truing.config import build_config
from truing.errors import ConfigError
from truing.jobs.train import resume

# A rate at which the small world's held-out loss falls and then rises again.
KEYS = {"objective": "dpo(beta=0.5)", "epochs": 4, "learning_rate": 4e-3}


@pytest.fixture(scope="module")
def held(world_pairs, tmp_path_factory):
    """Held-out rows that contradict half of the training rows, so that more steps are no gain."""
    path = tmp_path_factory.mktemp("held") / "held.jsonl"
    rows = [json.loads(line) for line in world_pairs.read_text().splitlines()][:12]
    for row in rows[::2]:
        row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settings(held, **more):
    return {"data": str(held), "every": 2, "samples": 0, "best": "log_loss", **more}


def evaluations(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["eval/log_loss"] for line in lines if "eval/log_loss" in line}


@pytest.fixture(scope="module")
def stopped(least, held, tmp_path_factory):
    keys = {name: value for name, value in least.items() if name != "trainer"}
    output = tmp_path_factory.mktemp("best") / "run"
    return train(**{**keys, **KEYS}, output=output, evaluation=settings(held, patience=2))


def test_the_weights_are_those_of_the_best_evaluation(stopped):
    found = evaluations(stopped.output)
    best = min(found, key=found.get)
    finished = json.loads((stopped.output / "finished.json").read_text())
    assert finished["kept_step"] == best
    assert stopped.evaluation["log_loss"] == pytest.approx(found[best], abs=1e-5)
    assert any(f"step {best}" in note for note in stopped.notes)
    kept = load_file(stopped.output / "model.safetensors")
    checkpoint = load_file(stopped.output / f"checkpoint-{best}" / "model.safetensors")
    assert all(kept[name].equal(checkpoint[name]) for name in kept)


def test_it_stops_after_so_many_evaluations_without_gain(stopped):
    found = evaluations(stopped.output)
    best = min(found, key=found.get)
    assert stopped.steps == best + 2 * 2
    assert stopped.steps < 24
    assert stopped.finished


def test_killed_at_any_checkpoint_it_ends_at_the_same_step_with_the_same_weights(stopped, tmp_path):
    whole = load_file(stopped.output / "model.safetensors")
    for checkpoint in stopped.output.glob("checkpoint-*"):
        run = tmp_path / checkpoint.name
        shutil.copytree(stopped.output, run)
        for name in ("finished.json", "model.safetensors"):
            (run / name).unlink()
        step = int(checkpoint.name.split("-")[-1])
        for other in run.glob("checkpoint-*"):
            if int(other.name.split("-")[-1]) > step:
                shutil.rmtree(other)
        again = resume(run)
        assert again.steps == stopped.steps
        found = load_file(run / "model.safetensors")
        assert all(whole[name].equal(found[name]) for name in whole)


@pytest.mark.parametrize(
    ("evaluation", "trainer", "words"),
    [
        ({"every": 2, "best": "log_los"}, {}, "did you mean log_loss"),
        ({"best": "log_loss"}, {}, "needs evaluation.every"),
        ({"every": 2, "patience": 3}, {}, "needs evaluation.best"),
        ({"every": 2, "best": "margin"}, {"save_steps": 5}, "save_steps has no effect"),
        ({"every": 2}, {"load_best_model_at_end": True}, "governed by evaluation.best"),
        ({"every": 2, "best": "margin", "patience": 0}, {}, "patience"),
    ],
)
def test_keys_without_effect_are_errors(evaluation, trainer, words):
    keys = {"model": "m", "data": "d", "output": "o", "trainer": trainer}
    with pytest.raises(ConfigError, match=words):
        build_config({**keys, "evaluation": {"data": "d", **evaluation}})


def test_a_first_evaluation_after_the_last_step_and_a_measure_that_is_not_there_are_errors(
    least, held, tmp_path
):
    keys = {name: value for name, value in least.items() if name != "trainer"}
    with pytest.raises(ConfigError, match="the run has 6 steps"):
        train(**keys, output=tmp_path / "late", evaluation=settings(held, every=9))
    with pytest.raises(ConfigError, match="is not measured"):
        train(**keys, output=tmp_path / "nll", evaluation=settings(held, best="nll"))
