"""Real tokenizers and small files of rows."""

import json
from functools import cache
from pathlib import Path

import pytest
from transformers import AutoTokenizer


@cache
def load(path: str):
    return AutoTokenizer.from_pretrained(path)


@pytest.fixture(scope="session")
def tokenizer(shared: Path):
    """Loads one of the shared tokenizers by name, or that of the small model."""

    def get(name: str):
        folder = "models" if name == "stories260K" else "tokenizers"
        return load(str(shared / "data" / folder / name))

    return get


@pytest.fixture
def write(tmp_path: Path):
    """Writes rows as JSON lines and gives the path back."""

    def to(rows, name="rows.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return to


def pair(number: int = 1, **more):
    """A good plain pair."""
    row = {
        "prompt": f"What is {number} plus {number}?",
        "chosen": f" It is {2 * number}.",
        "rejected": f" It is {2 * number + 1}.",
    }
    return row | more


@pytest.fixture(scope="session")
def make_pair():
    return pair
