"""Loops of the smallest size: the embedded model, a dozen prompts, two or three rounds."""

import json

import pytest

from truing.world import model_folder, prompts

GOOD = "I would say that it is good."
BAD = "I do not care about this. I have no idea."


@pytest.fixture(scope="session")
def start() -> str:
    """The folder of the embedded model."""
    return str(model_folder())


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory) -> str:
    """Twelve pairs on prompts of the embedded world, two a prompt."""
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [
        {"prompt": prompt.text, "chosen": f"{GOOD} {word}.", "rejected": BAD}
        for prompt in prompts("train")[:6]
        for word in ("Yes", "Indeed")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def least(start) -> dict:
    """Keys of the smallest run, rounds left out."""
    return {
        "model": start,
        "objective": "dpo(beta=0.3)",
        "pairs_per_step": 4,
        "learning_rate": 3e-4,
        "seed": 5,
        "trainer": {"save_strategy": "no"},
    }


RESAMPLED = {
    "count": 2,
    "pairs": "resampled",
    "prompts": "world(rows=10)",
    "sampler": "generate(num_responses=3, max_new_tokens=48)",
    "scorer": "world()",
}


@pytest.fixture
def resampled() -> dict:
    """Rounds with pairs of their own."""
    return dict(RESAMPLED)
