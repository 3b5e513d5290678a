"""One model and its rows for every comparison: real ones where the shared data is there."""

import os
from pathlib import Path

import pytest

from .homes import Home, real_home, tiny_home
from .pairs import Pairs


@pytest.fixture(scope="session")
def tiny(random_llama, tmp_path_factory) -> Home:
    """A random model and our own sentences."""
    return tiny_home(random_llama, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def home(repository, tmp_path_factory, request) -> Home:
    """A pretrained model and people's rows; in a bare clone the random one."""
    shared = Path(os.environ.get("TRUING_SHARED", repository.parent / "shared"))
    if not (shared / "data" / "models" / "stories260K").is_dir():
        return request.getfixturevalue("tiny")
    return real_home(shared, tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="session")
def pair_of(home) -> Pairs:
    """Runs a case on both sides."""
    return Pairs(home)
