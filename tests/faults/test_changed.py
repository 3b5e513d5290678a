"""A run goes on with the rows and models that it began with, or not at all."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from truing import train
from truing.errors import ResumeError
from truing.jobs.train import resume
from truing.training import folder
from truing.world import model_folder


@pytest.fixture(scope="module")
def place(least_in, data, tmp_path_factory):
    """Everything that a run is made of, and the run, back at its checkpoint after step 2."""
    place: Path = tmp_path_factory.mktemp("changed")
    for name in ("start", "reference"):
        shutil.copytree(model_folder(), place / name)
    rows = data.read_text().splitlines(keepends=True)
    (place / "pairs.jsonl").write_text("".join(rows))
    (place / "held.jsonl").write_text("".join(rows[:4]))
    texts = [{"prompt": "Say it.", "completion": f"It is {i}."} for i in range(7)]
    (place / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    run = train(
        **{
            **least_in(place / "run"),
            "model": str(place / "start"),
            "data": str(place / "pairs.jsonl"),
            "objective": "dpo(beta=0.5) + 0.2*sft(source='texts')",
            "reference": f"model(path='{place / 'reference'}')",
            "auxiliary": {"texts": str(place / "texts.jsonl")},
            "evaluation": {"data": str(place / "held.jsonl"), "every": 3, "samples": 0},
            "trainer": {"save_steps": 2, "save_total_limit": 3},
        }
    ).output
    (run / folder.FINISHED).unlink()
    for step in (4, 6):
        shutil.rmtree(run / f"checkpoint-{step}")
    return place


@pytest.mark.parametrize("name", ["pairs.jsonl", "texts.jsonl", "held.jsonl"])
def test_other_rows_are_another_run(place, name):
    file = place / name
    before = file.read_text()
    file.write_text(before.replace("It is", "It was"))
    with pytest.raises(ResumeError, match=rf"{name} is not the file that the run began with"):
        resume(place / "run")
    file.write_text(before)


@pytest.mark.parametrize("name", ["start", "reference"])
def test_other_weights_are_another_run(place, name):
    file = place / name / "model.safetensors"
    before = file.read_bytes()
    weights = {key: 1.1 * value for key, value in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ResumeError, match=rf"{name} does not hold the weights that the run began"):
        resume(place / "run")
    file.write_bytes(before)
