"""Whoever installs the wheel has everything that it imports."""

import ast
import sys
import tomllib
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def imported(repository):
    """Top names of other people's packages, each with a file that imports it."""
    for file in (repository / "truing").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            for name in (one.partition(".")[0] for one in names):
                if name != "truing" and name not in sys.stdlib_module_names:
                    yield name, file


def test_every_package_that_is_imported_is_asked_for(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    # What developers have is not what users have.
    extras = {
        name: texts
        for name, texts in project["optional-dependencies"].items()
        if name not in {"dev", "docs", "bench", "audit"}
    }
    asked = [*project["dependencies"], *(one for name in extras for one in extras[name])]
    known = {canonicalize_name(Requirement(text).name) for text in asked}
    homes = metadata.packages_distributions()
    missing = {
        name: str(file)
        for name, file in imported(repository)
        if not known & {canonicalize_name(one) for one in homes.get(name, [name])}
    }
    assert missing == {}
