import json

import numpy as np
import pytest

from truing.errors import ConfigError
from truing.report.collect import FILES, collect


@pytest.fixture
def run(tmp_path, fake_runs):
    return fake_runs.write_run(tmp_path / "run")


def test_a_whole_run_is_read_and_nothing_is_missing(run):
    found = collect(run)
    assert (len(found.training), len(found.evaluations), len(found.samples)) == (180, 7, 48)
    assert found.config["objective"] == "sampo(beta=0.1) + 0.2*sft()"
    assert found.made_with["versions"]["torch"] == "2.13.0"
    assert "made_with" not in found.config
    assert found.evaluations.at("reward_accuracy_low", 0) == pytest.approx(0.45)
    assert (found.missing, found.is_finished) == ((), True)


@pytest.mark.parametrize("name", FILES)
def test_each_missing_file_is_named_and_the_rest_is_read(run, name):
    (run / name).unlink()
    found = collect(run)
    assert [(m.file, m.is_damaged) for m in found.missing] == [(name, False)]


@pytest.mark.parametrize("name", ["run.yaml", "data.json", "evaluation.json"])
def test_a_damaged_file_is_named_and_the_rest_is_read(run, name):
    (run / name).write_bytes(b'{"a": [1, \xff')
    found = collect(run)
    assert [(m.file, m.is_damaged) for m in found.missing] == [(name, True)]


def test_a_line_cut_off_by_a_kill_is_left_out_and_counted(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 181, "lo')
    found = collect(run)
    assert len(found.training) == 180
    assert "1 of 188 lines" in found.missing[0].what


def test_values_that_are_no_numbers_are_gaps_in_a_curve(tmp_path):
    lines = [
        {"step": 1, "loss": 0.5, "note": "text", "flag": True},
        {"step": 2, "loss": None},
        {"step": 3, "loss": float("nan"), "late": 1},
        {"step": 4, "loss": float("inf")},
    ]
    text = "\n".join(map(json.dumps, lines))
    (tmp_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    training = collect(tmp_path).training
    assert set(training.values) == {"loss", "late"}
    assert np.isfinite(training.values["loss"]).tolist() == [True, False, False, False]
    assert training.step.tolist() == [1, 2, 3, 4]


def test_steps_out_of_order_are_put_in_order(tmp_path):
    text = '{"step": 3, "loss": 3}\n{"step": 1, "loss": 1}\n'
    (tmp_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    assert collect(tmp_path).training.values["loss"].tolist() == [1, 3]


def test_conversations_are_read_as_turns(tmp_path):
    sample = {
        "prompt": [{"role": "user", "content": "Hello?"}, "odd"],
        "before": [{"role": "assistant", "content": "Hi."}],
        "after": None,
    }
    (tmp_path / "samples.jsonl").write_text(json.dumps(sample), encoding="utf-8")
    found = collect(tmp_path).samples[0]
    assert [(turn.role, turn.text) for turn in found.prompt] == [("user", "Hello?"), ("", "odd")]
    assert (found.before, found.after, found.gain, found.longer) == ("Hi.", "", None, None)


def test_a_folder_without_a_run_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(ConfigError, match="there is no run here") as caught:
        collect(tmp_path)
    assert caught.value.fix
