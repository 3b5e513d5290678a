"""The smallest run, and ways to spoil it."""

import json
from pathlib import Path

import pytest

from truing.world import model_folder, prompts


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """24 pairs on prompts of the embedded world."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [
        {"prompt": prompt.text, "chosen": f"It is good {i}.", "rejected": f"I do not care {i}."}
        for i, prompt in enumerate(prompts("train")[:24])
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def least(data, tmp_path) -> dict[str, object]:
    """Six steps of four pairs, a checkpoint every two."""
    return {
        "model": str(model_folder()),
        "data": str(data),
        "output": str(tmp_path / "run"),
        "pairs_per_step": 4,
        "learning_rate": 3e-4,
        "seed": 5,
        "trainer": {"save_steps": 2},
    }
