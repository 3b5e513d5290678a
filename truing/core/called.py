"""A frozen dataclass that is written as a call: checked when it is made, printed as it is read."""

from dataclasses import fields
from functools import lru_cache
from typing import Any, ClassVar, cast, get_type_hints

from truing.core.knobs import UnfitError, checked
from truing.errors import KnobError


class Called:
    """A value of the expression language; subclasses are frozen dataclasses without own `repr`.

    Knobs are checked against their annotations when the value is made, and `repr` is the call
    that makes it again.
    """

    word: ClassVar[str] = ""
    """The name in the language; "" for the name of the class."""

    def __post_init__(self) -> None:
        check_knobs(self, self.word or type(self).__name__)

    def __repr__(self) -> str:
        return call_text(self, self.word or type(self).__name__)


def check_knobs(value: Any, name: str) -> None:
    """Give every knob of a frozen dataclass the type it wants.

    Raises:
        KnobError: names the knob and its range.
    """
    kinds = _kinds(cast("type[Any]", type(value)))
    for knob in fields(value):
        if not knob.init:
            continue
        try:
            object.__setattr__(
                value, knob.name, checked(getattr(value, knob.name), kinds[knob.name])
            )
        except UnfitError as problem:
            raise KnobError(
                str(problem),
                where=f"{name}({knob.name}=)",
                fix=f"the knobs are {', '.join(f.name for f in fields(value) if f.init)}",
            ) from None


def call_text(value: Any, name: str) -> str:
    """The call that makes a dataclass, knobs at their defaults left out."""
    knobs = [
        f"{f.name}={written(getattr(value, f.name))}"
        for f in fields(value)
        if f.init and getattr(value, f.name) != f.default
    ]
    return f"{name}({', '.join(knobs)})"


def written(value: Any) -> str:
    """A knob's value as the expression language writes it: tuples as lists."""
    if isinstance(value, tuple):
        items = cast("tuple[Any, ...]", value)
        return f"[{', '.join(map(written, items))}]"
    return repr(value)


@lru_cache
def _kinds(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)
