"""Trackers are told what metrics.jsonl says, step by step."""

import json

import pytest

from truing.errors import ConfigError
from truing.training.trackers import refuse_missing_trackers


def test_tensorboard_shows_every_metric_of_every_step(run_on, sentence):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    pairs = [(sentence(i, 4), sentence(100 + i, 6)) for i in range(12)]
    trainer = {"save_strategy": "no", "report_to": "tensorboard"}
    run = run_on(pairs, objective="dpo(beta=0.5)", trainer=trainer)
    (file,) = run.rglob("events.out.tfevents.*")
    shown = events.EventAccumulator(str(file)).Reload()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 3
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
