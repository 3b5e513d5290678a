"""The bridge to lm-evaluation-harness, with a task that needs no network."""

import importlib.util
import json

import pytest

from truing.errors import ConfigError
from truing.jobs.evaluate import evaluate
from truing.report.collect import collect

has_harness = importlib.util.find_spec("lm_eval") is not None
needs_harness = pytest.mark.skipif(not has_harness, reason='needs pip install "truing[tasks]"')
# Deprecations inside the harness and the libraries that it brings are not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

TASK = """\
task: truing_choice
dataset_path: json
dataset_kwargs:
  data_files:
    test: {path}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{right}}}}"
doc_to_choice: "{{{{choices}}}}"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""


@pytest.fixture
def tasks(tmp_path):
    rows = [
        {
            "question": "Notes on the Blue Door, a cafe: coffee fresh. What is it like?",
            "choices": [" The coffee is fresh.", " Qzx vvk pqr."],
            "right": 0,
        }
        for _ in range(6)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "truing_choice.yaml").write_text(TASK.format(path=path))
    return folder


@needs_harness
def test_a_task_defined_in_a_folder_is_run_and_its_table_is_in_the_report(world_runs, tasks):
    run = world_runs["sampo"]
    found = evaluate(run, tasks=["truing_choice"], task_folder=tasks, limit=4)["tasks"]
    accuracy = next(line for line in found if line["metric"] == "acc")
    assert accuracy["task"] == "truing_choice"
    assert accuracy["value"] == 1.0
    assert accuracy["documents"] == 4
    assert "truing_choice: acc" in (run / "report.html").read_text()
    assert collect(run).evaluated["tasks"][0]["task"] == "truing_choice"


@needs_harness
def test_an_unknown_task_is_named_with_the_nearest_ones(world_runs, tasks):
    with pytest.raises(ConfigError, match="knows no task `truing_choise`") as caught:
        evaluate(world_runs["sampo"], tasks=["truing_choise"], task_folder=tasks)
    assert "truing_choice" in caught.value.fix


@pytest.mark.skipif(has_harness, reason="the harness is installed")
def test_without_the_harness_the_extra_is_named(world_runs):
    with pytest.raises(ConfigError, match="not installed") as caught:
        evaluate(world_runs["sampo"], tasks=["x"])
    assert "truing[tasks]" in caught.value.fix
