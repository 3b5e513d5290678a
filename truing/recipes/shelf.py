"""The catalogue as a table: every recipe with its idea, source, needs and knobs."""

from dataclasses import dataclass
from inspect import Parameter

from truing.core.knobs import described
from truing.core.needs import Needs
from truing.objectives.part import written
from truing.recipes._recipe import SHELF, Recipe


@dataclass(frozen=True)
class Knob:
    """A knob of a recipe.

    Args:
        name: as it is written in a call.
        kind: its type in words, with range or choices.
        default: as it is written; None: it must be given.
    """

    name: str
    kind: str
    default: str | None


@dataclass(frozen=True)
class Entry:
    """A recipe in the catalogue.

    Args:
        name: what it is called.
        idea: what it is for, in a line.
        source: paper and code.
        formula: the loss in ASCII, line by line.
        needs: what it reads at its defaults (and at the example's values).
        sentences: the same in words.
        knobs: in the order of the call.
        limits: by recipe, the knobs at which this is that one.
        example: an expression that works.
    """

    name: str
    idea: str
    source: str
    formula: tuple[str, ...]
    needs: Needs
    sentences: tuple[str, ...]
    knobs: tuple[Knob, ...]
    limits: tuple[tuple[str, str], ...]
    example: str


def shelf() -> tuple[Entry, ...]:
    """All recipes, by name."""
    return tuple(_entry(SHELF[name]) for name in sorted(SHELF))


def _entry(recipe: Recipe) -> Entry:
    objective = recipe.build()
    limits = {
        other: ", ".join(f"{knob}={written(value)}" for knob, value in settings.items())
        for other, settings in recipe.limits.items()
    }
    return Entry(
        name=recipe.name,
        idea=recipe.idea,
        source=recipe.source,
        formula=tuple(recipe.formula.splitlines()),
        needs=objective.needs,
        sentences=objective.needs.sentences(),
        knobs=tuple(_knob(knob) for knob in recipe.knobs),
        limits=tuple(limits.items()),
        example=repr(objective),
    )


def _knob(parameter: Parameter) -> Knob:
    is_required = parameter.default is Parameter.empty
    default = None if is_required else written(parameter.default)
    return Knob(parameter.name, described(parameter.annotation), default)
