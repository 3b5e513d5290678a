"""`truing watch` reads a run's folder while it is written, and stops when the run has ended."""

import io
import json

import pytest
from rich.console import Console

from truing.cli.show_watch import drawn, sparkline
from truing.errors import ResumeError
from truing.jobs.watch import glance


@pytest.fixture
def run(fake_runs, tmp_path):
    folder = fake_runs.write_run(tmp_path / "run", steps=40)
    (folder / "finished.json").unlink()
    return folder


def text_of(found, width=100):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(drawn(found))
    return console.export_text()


def test_a_glance_says_where_the_run_stands(run):
    found = glance(run)
    assert (found.step, found.is_finished) == (40, False)
    text = text_of(found)
    assert "step 40" in text
    assert "rewards/accuracies" in text
    assert "alarm at step 120" in text


def test_a_line_that_is_being_written_is_left_for_the_next_look(run):
    before = glance(run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 41, "lo')
    assert glance(run) == before


def test_the_time_left_is_that_of_the_last_steps(run):
    data = {"train": {"rows": 64}, "evaluation": None}
    (run / "data.json").write_text(json.dumps(data))
    found = glance(run)
    assert found.num_steps == 6
    (run / "data.json").write_text(json.dumps({**data, "train": {"rows": 32 * 100}}))
    found = glance(run)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    seconds = [line["seconds"] for line in lines if "seconds" in line][-20:]
    assert found.seconds_left == pytest.approx(260 * sum(seconds) / 20)


def test_text_of_a_run_is_no_markup(run):
    with (run / "alarms.jsonl").open("a") as file:
        file.write(json.dumps({"step": 1, "alarm": "x", "what": "[red]w[/x]", "fix": "f"}) + "\n")
    assert "[red]w[/x]" in text_of(glance(run))


def test_a_course_in_few_characters():
    assert sparkline([0.0, 1.0, 2.0, 3.0]) == "▁▃▅█"
    assert sparkline([1.0] * 100) == "▁" * 24


def test_a_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(ResumeError, match=r"holds no run\.yaml"):
        glance(tmp_path)


def test_of_a_run_of_rounds_the_round_at_work_is_shown(fake_runs, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.yaml").write_text("{model: m, data: d.jsonl, output: run, rounds: {count: 3}}")
    assert f"{run.name}: round 1 of 3, step 0" in text_of(glance(run), width=300)
    for number in (1, 2):
        fake_runs.write_run(run / "rounds" / str(number) / "train", steps=40)
    text = text_of(glance(run), width=300)
    assert f"{run.name}: round 2 of 3, step 40" in text
    assert "finished" not in text
    assert "rewards/accuracies" in text
