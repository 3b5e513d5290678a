"""The studies that there are: every file of `truing/studies/papers/` with a `STUDY` in it."""

import difflib
import importlib
import pkgutil
from functools import cache

from truing.errors import ConfigError
from truing.studies import papers
from truing.studies.study import SCALES, ScaleName, Study

MAIN = ("sampo", "odpo", "minor_dpo", "averaging", "reference_policies")
"""The main ones; the others are smaller."""


@cache
def shelf() -> dict[str, Study]:
    """All studies by name, the main ones first."""
    found: dict[str, Study] = {}
    for module in pkgutil.iter_modules(papers.__path__):
        study: Study = importlib.import_module(f"{papers.__name__}.{module.name}").STUDY
        found[study.name] = study
    order = [*(name for name in MAIN if name in found), *sorted(set(found) - set(MAIN))]
    return {name: found[name] for name in order}


def study_named(name: str) -> Study:
    """A study by its name.

    Raises:
        ConfigError: there is none of that name; the nearest is named.
    """
    found = shelf()
    if name not in found:
        near = difflib.get_close_matches(name, found, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(
            f"there is no study called {name!r}", where="study", fix=f"{hint}truing study list"
        )
    return found[name]


def scale_named(scale: str) -> ScaleName:
    """A scale by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    for known in SCALES:
        if scale == known:
            return known
    raise ConfigError(
        f"there is no scale called {scale!r}",
        where="study --scale",
        fix=f"one of {', '.join(SCALES)}",
    )
