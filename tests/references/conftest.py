"""A store of its own for every test, and the model that ships with Truing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from truing.engine.models import load_model, load_tokenizer
from truing.engine.steady import Alone, choose_steady
from truing.references.keys import ModelKey
from truing.references.stored import Source
from truing.references.weights import weights_hash
from truing.world import model_folder, prompts

GOOD = "I would say that it is good."
BAD = "I do not care about this. I have no idea, and I do not want to think about it today."


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch) -> Path:
    """The folder of the store, empty."""
    monkeypatch.setenv("TRUING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "references"


def pairs_text(count: int) -> str:
    lines = [
        {"prompt": prompt.text, "chosen": f"{GOOD} {number}.", "rejected": BAD[number % 7 :]}
        for number, prompt in enumerate(prompts("train")[:count])
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.fixture(scope="session")
def pairs(tmp_path_factory) -> Path:
    """16 pairs on prompts of the embedded world."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    path.write_text(pairs_text(16))
    return path


@pytest.fixture(scope="session")
def start() -> str:
    return str(model_folder())


@pytest.fixture(scope="session")
def model(start):
    return load_model(start, torch.float32)


@pytest.fixture(scope="session")
def rows(start) -> list[Alone]:
    """40 rows of two responses, lengths of 1 to 70 tokens; some share their prompt."""
    draw, size = np.random.default_rng(0), len(load_tokenizer(start))

    def some(low: int, high: int) -> np.ndarray:
        return draw.integers(0, size, draw.integers(low, high)).astype(np.int32)

    found = [Alone(some(1, 50), (some(1, 70), some(1, 70))) for _ in range(36)]
    return found + [Alone(row.prompt, (some(2, 9), some(2, 9))) for row in found[:4]]


@pytest.fixture(scope="session")
def steady(model):
    return choose_steady("shared", model)


@pytest.fixture
def source(model, steady, start) -> Source:
    """The model as a source of stored values."""

    def key() -> ModelKey:
        return ModelKey(weights_hash(start), "float32", attention=steady.name)

    return Source(model, steady.engine, start, key(), key)


@pytest.fixture
def copied(start, tmp_path) -> Path:
    """A copy of the model's folder that a test may change."""
    folder = tmp_path / "model"
    shutil.copytree(start, folder)
    return folder
