"""What a knob may be: ranges that stand in its type, and the sentence for a value outside."""

import math
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin


@dataclass(frozen=True)
class Interval:
    """The range of a number; ends belong to it unless they are open."""

    low: float = -math.inf
    high: float = math.inf
    is_low_open: bool = False
    is_high_open: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.is_low_open else value >= self.low
        below = value < self.high if self.is_high_open else value <= self.high
        return math.isfinite(value) and above and below

    def __str__(self) -> str:
        bounds: list[str] = []
        if self.low > -math.inf:
            bounds.append(f"{'greater than' if self.is_low_open else 'at least'} {self.low:g}")
        if self.high < math.inf:
            bounds.append(f"{'less than' if self.is_high_open else 'at most'} {self.high:g}")
        return " and ".join(bounds) or "a finite number"


Real = Annotated[float, Interval()]
Positive = Annotated[float, Interval(low=0.0, is_low_open=True)]
NonNegative = Annotated[float, Interval(low=0.0)]
Fraction = Annotated[float, Interval(low=0.0, high=1.0)]
OpenFraction = Annotated[float, Interval(0.0, 1.0, is_low_open=True, is_high_open=True)]
Count = Annotated[int, Interval(low=1.0)]


class UnfitError(ValueError):
    """A value that does not fit its type; the text goes on where "beta: " stops."""


def checked(value: Any, kind: Any) -> Any:
    """The value as its type wants it (an int becomes a float, a list a tuple).

    Args:
        value: what was given.
        kind: the annotation: a class, `Literal`, `Annotated` with an `Interval`, a union of these,
            or `tuple[kind, ...]`.

    Raises:
        UnfitError: the value is of another type or outside the range.
    """
    origin = get_origin(kind)
    if origin is Annotated:
        base, *ranges = get_args(kind)
        return _in_range(checked(value, base), ranges)
    if origin is Literal:
        return _one_of(value, get_args(kind))
    if origin in (Union, types.UnionType):
        return _any_of(value, get_args(kind))
    if origin is tuple:
        return _each(value, get_args(kind)[0])
    return _of_class(value, kind)


def _in_range(value: Any, ranges: Sequence[Any]) -> Any:
    for interval in ranges:
        if isinstance(interval, Interval) and value not in interval:
            raise UnfitError(f"must be {interval}, got {value!r}")
    return value


def _one_of(value: Any, choices: Sequence[Any]) -> Any:
    for choice in choices:
        if value == choice and isinstance(value, bool) == isinstance(choice, bool):
            return choice
    raise UnfitError(f"must be one of {', '.join(map(repr, choices))}, got {value!r}")


def _any_of(value: Any, kinds: Sequence[Any]) -> Any:
    problems: list[str] = []
    for kind in kinds:
        try:
            return checked(value, kind)
        except UnfitError as problem:
            problems.append(str(problem).split(", got ")[0])
    raise UnfitError(f"{', or '.join(problems)}, got {value!r}")


def _each(value: Any, kind: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise UnfitError(f"must be a list, got {value!r}")
    items = cast("Sequence[Any]", value)
    return tuple(checked(item, kind) for item in items)


_WORDS = {float: "a number", int: "a whole number", str: "a text", bool: "True or False"}


def _of_class(value: Any, kind: type | None) -> Any:
    if kind is None or kind is types.NoneType:
        if value is None:
            return None
        raise UnfitError(f"must be None, got {value!r}")
    if kind is Any:
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and is_number:
        return float(value)
    if isinstance(value, kind) and (isinstance(value, bool) <= (kind is bool)):
        return value
    raise UnfitError(f"must be {_WORDS.get(kind, f'a value of {kind.__name__}')}, got {value!r}")


def described(kind: Any) -> str:
    """A knob's type in words, with its range or choices."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        ranges = [str(r) for r in arguments[1:] if isinstance(r, Interval) and r != Interval()]
        return ", ".join([described(arguments[0]), *ranges])
    if origin is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join(described(argument) for argument in arguments)
    if origin is tuple:
        return f"a list, each {described(arguments[0])}"
    if kind is types.NoneType:
        return "None"
    return _WORDS.get(kind, f"a value of {getattr(kind, '__name__', kind)}")
