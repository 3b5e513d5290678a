"""Small real builds: the model that ships with Truing, asked a few of its own prompts."""

import json
from pathlib import Path

import pytest

from truing.responses.groups import Asked, Group, Said
from truing.world import model_folder


@pytest.fixture(scope="session")
def start() -> str:
    """The folder of the embedded model."""
    return str(model_folder())


@pytest.fixture
def group():
    """A prompt with these responses."""

    def make(*texts: str, prompt: str = "Tell me.") -> Group:
        return Group(Asked(prompt), tuple(Said(text, 3) for text in texts))

    return make


@pytest.fixture(scope="session")
def kwise_file(tmp_path_factory) -> Path:
    """Four prompts with responses and scores."""
    path = tmp_path_factory.mktemp("kwise") / "samples.jsonl"
    rows = [
        {"prompt": "one", "responses": ["a good one", "bad", "so so"], "scores": [2, -1, 0.5]},
        {"prompt": "two", "responses": ["same", "same", "worse"], "scores": [1, 1, 0]},
        {"prompt": "three", "responses": ["x", "y", "z"], "scores": [1, 1, 1]},
        {"prompt": "four", "responses": ["fine", "  ", "poor"], "scores": [1, 5, -1]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
