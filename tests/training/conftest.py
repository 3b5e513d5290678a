"""Small real runs whose course is known beforehand."""

import json
import random
from pathlib import Path

import pytest

from truing import train
from truing.world import model_folder, prompts

WORDS = [
    "tea",
    "room",
    "hall",
    "beds",
    "soup",
    "cake",
    "view",
    "pool",
    "lamp",
    "desk",
    "bread",
    "wine",
    "park",
    "lake",
    "road",
    "shop",
]


@pytest.fixture(scope="session")
def sentence():
    """So many words of no sense, the same for the same number."""

    def make(number: int, words: int) -> str:
        draw = random.Random(number)
        return " ".join(draw.choice(WORDS) for _ in range(words)) + "."

    return make


@pytest.fixture(scope="session")
def run_on(tmp_path_factory):
    """A run over pairs of texts, in the order of the file; its alarms by name."""

    def run(pairs, *, name="pairs", **keys):
        folder: Path = tmp_path_factory.mktemp(name)
        asked = [prompt.text for prompt in prompts("train")]
        rows = [
            {"prompt": asked[i % len(asked)], "chosen": chosen, "rejected": rejected}
            for i, (chosen, rejected) in enumerate(pairs)
        ]
        data = folder / "pairs.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        trainer = {"save_strategy": "no", "lr_scheduler_type": "constant"}
        least = {"pairs_per_step": 4, "seed": 5, "shuffle": False, "trainer": trainer}
        named = {"model": str(model_folder()), "data": str(data), "output": folder / "run"}
        return train(**{**named, **least, **keys}).output

    return run
