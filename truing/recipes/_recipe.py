"""The decorator that makes a function a recipe: its signature is the only schema.

A recipe chooses parts and names the knobs of a published method. It computes nothing.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ParamSpec

from truing.core.knobs import (
    Count,
    Fraction,
    NonNegative,
    OpenFraction,
    Positive,
    Real,
    checked,
)
from truing.core.language import bound
from truing.objectives.objective import Objective, Origin, made_by, no_effect

__all__ = [
    "Count",
    "Fraction",
    "NonNegative",
    "OpenFraction",
    "Positive",
    "Real",
    "Recipe",
    "SHELF",
    "no_effect",
    "recipe",
]

P = ParamSpec("P")
Settings = Mapping[str, Any]
_NONE: Settings = MappingProxyType({})


@dataclass(frozen=True)
class Recipe:
    """What the shelf knows of a recipe.

    Args:
        name: what it is called in expressions.
        function: the call itself.
        source: paper and code.
        limits: by the name of another recipe, the knobs at which both are equal; the other recipe's
            knobs of the same name are set alike, further ones under "other".
        when: by knob, settings of other knobs under which it acts, where it does not at defaults.
        example: values for the knobs that have no default.
    """

    name: str
    function: Callable[..., Objective]
    source: str
    limits: Mapping[str, Settings] = field(default_factory=lambda: _NONE)
    when: Mapping[str, Settings] = field(default_factory=lambda: _NONE)
    example: Settings = field(default_factory=lambda: _NONE)

    @property
    def knobs(self) -> tuple[inspect.Parameter, ...]:
        """The knobs, in their order."""
        return tuple(inspect.signature(self.function).parameters.values())

    @property
    def idea(self) -> str:
        """The docstring's first line."""
        return inspect.getdoc(self.function).splitlines()[0]  # pyright: ignore[reportOptionalMemberAccess]

    @property
    def formula(self) -> str:
        """The docstring's indented block: the loss in ASCII."""
        lines = inspect.getdoc(self.function).split("Args:")[0].splitlines()  # pyright: ignore[reportOptionalMemberAccess]
        return "\n".join(line.strip() for line in lines[1:] if line.startswith("    "))

    def build(self, **knobs: Any) -> Objective:
        """The objective with these knobs, the example's values for those that have no default."""
        return self.function(**{**self.example, **knobs})


SHELF: dict[str, Recipe] = {}
"""All recipes by name, filled as their modules are imported."""


def recipe(
    *,
    source: str,
    limits: Mapping[str, Settings] = _NONE,
    when: Mapping[str, Settings] = _NONE,
    example: Settings = _NONE,
) -> Callable[[Callable[P, Objective]], Callable[P, Objective]]:
    """Put a function on the shelf; its calls check their knobs and print as they were written.

    The fields of `Recipe` say what the arguments mean.
    """

    def shelve(function: Callable[P, Objective]) -> Callable[P, Objective]:
        name = function.__name__
        parameters = inspect.signature(function).parameters

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Objective:
            given = bound(name, function, list(args), dict(kwargs))
            full = {
                k: checked(p.default, p.annotation) for k, p in parameters.items() if k not in given
            }
            made = function(**full, **given)  # pyright: ignore[reportCallIssue]
            order = [(knob, given[knob]) for knob in parameters if knob in given]
            origin = Origin(name, tuple(order), entry.idea, entry.formula, entry.source)
            return made_by(made, origin)

        assert name not in SHELF, f"two recipes are called {name}"
        SHELF[name] = entry = Recipe(name, call, source, limits, when, example)
        return call

    return shelve
