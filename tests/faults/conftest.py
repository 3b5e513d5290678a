"""The smallest run, and ways to spoil it."""

import json
from pathlib import Path

import pytest

from truing import train
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


@pytest.fixture(scope="session")
def least_in(data):
    """Six steps of four pairs, a checkpoint every two, in a folder."""
    return lambda output: {
        "model": str(model_folder()),
        "data": str(data),
        "output": str(output),
        "pairs_per_step": 4,
        "learning_rate": 3e-4,
        "seed": 5,
        "trainer": {"save_steps": 2},
    }


@pytest.fixture
def least(least_in, tmp_path) -> dict[str, object]:
    """See `least_in`."""
    return least_in(tmp_path / "run")


@pytest.fixture(scope="session")
def trained(least_in, tmp_path_factory) -> Path:
    """A run with all of its checkpoints, that nobody changes."""
    keys = least_in(tmp_path_factory.mktemp("trained") / "run")
    return train(**{**keys, "trainer": {"save_steps": 2, "save_total_limit": 3}}).output
