"""`pip install -c constraints.txt` with any extra: no pinned version may be one that is refused."""

import importlib.metadata
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
# vLLM is for machines with a GPU, and pins torch itself.
EXTRAS = sorted({*PROJECT["optional-dependencies"]} - {"vllm"})


@pytest.fixture(scope="module")
def pins(repository):
    lines = (repository / "constraints.txt").read_text().splitlines()
    parts = (line.partition("==") for line in lines)
    return {canonicalize_name(name): version for name, _, version in parts}


def needed(requirements):
    """Every requirement of these and of what they bring, as far as it is installed here."""
    todo = [("truing", Requirement(text)) for text in requirements]
    seen = set()
    while todo:
        who, wanted = todo.pop()
        yield who, wanted
        for extra in {"", *wanted.extras} - {e for name, e in seen if name == wanted.name}:
            seen.add((wanted.name, extra))
            try:
                brought = importlib.metadata.requires(wanted.name) or ()
            except importlib.metadata.PackageNotFoundError:
                break
            for one in map(Requirement, brought):
                is_asked = one.marker.evaluate({"extra": extra}) if one.marker else not extra
                if is_asked:
                    todo.append((wanted.name, one))


@pytest.mark.parametrize("extra", EXTRAS)
def test_no_pinned_version_is_refused_by_what_an_extra_brings(extra, pins):
    asked = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]]
    refused = [
        f"{who} wants {wanted}, pinned is {pins[name]}"
        for who, wanted in needed(asked)
        if (name := canonicalize_name(wanted.name)) in pins
        and not wanted.specifier.contains(pins[name], prereleases=True)
    ]
    assert not refused
