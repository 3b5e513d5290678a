"""What every piece of an objective is: a frozen value that knows its needs and prints itself."""

from abc import ABC
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, TypeVar, cast, dataclass_transform

from jaxtyping import Float
from torch import Tensor

from truing.core.called import call_text, check_knobs, written
from truing.core.needs import Needs
from truing.core.sides import Sides
from truing.core.state import State

__all__ = ["Part", "part", "written"]

C = TypeVar("C")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def part(kind: type[C]) -> type[C]:
    """Make a class of fields a frozen dataclass that prints as an expression."""
    return dataclass(frozen=True, repr=False)(kind)


@part
class Part(ABC):  # noqa: B024  (what is abstract is the kinds below)
    """A frozen dataclass of knobs and of further parts.

    Knobs are checked against their annotations when the value is made. Two parts with the same
    knobs are equal; `repr` is an expression that makes the part again.
    """

    def __post_init__(self) -> None:
        check_knobs(self, type(self).__name__)

    def own_needs(self) -> Needs:
        """What this part itself reads, its own parts left out."""
        return Needs()

    @cached_property
    def needs(self) -> Needs:
        """What this part and all its parts read."""
        needs = self.own_needs()
        for child in self.children():
            needs |= child.needs
        return needs

    def children(self) -> Iterator["Part"]:
        """The parts that this one is made of."""
        for knob in fields(self):
            value = getattr(self, knob.name)
            several = cast("tuple[Any, ...]", value if isinstance(value, tuple) else (value,))
            yield from (piece for piece in several if isinstance(piece, Part))

    def next_state(self, likelihood: Float[Tensor, "S"], sides: Sides) -> State:
        """The running scalars after this step; unchanged for parts without any of their own.

        Args:
            likelihood: of the sides under the objective's own likelihood, detached; (S,) nats.
            sides: of the step; their view holds the state before it.
        """
        state = sides.view.state
        for child in self.children() if self.needs.state else ():
            state = state.taking(child.needs.state, child.next_state(likelihood, sides))
        return state

    def __repr__(self) -> str:
        return call_text(self, type(self).__name__)
