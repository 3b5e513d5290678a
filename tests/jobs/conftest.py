"""Small real runs: the model that ships with Truing, on pairs of its own sentences."""

import json
from pathlib import Path

import pytest

from truing.world import model_folder, prompts

GOOD = "I would say that it is good."
BAD = "I do not care about this. I have no idea, and I do not want to think about it today."


@pytest.fixture(scope="session")
def world_pairs(tmp_path_factory) -> Path:
    """24 pairs on prompts of the embedded world; the short response is the chosen one."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [
        {"prompt": prompt.text, "chosen": f"{GOOD} {number}.", "rejected": BAD}
        for number, prompt in enumerate(prompts("train")[:24])
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def least(world_pairs) -> dict[str, object]:
    """The keys of the smallest run: six steps of four pairs."""
    return {
        "model": str(model_folder()),
        "data": str(world_pairs),
        "pairs_per_step": 4,
        "learning_rate": 3e-4,
        "seed": 5,
        "trainer": {"save_strategy": "no"},
    }
