"""What a migration has found so far: the keys of a run file, and a sentence for each argument."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from truing.errors import ConfigError
from truing.jobs.migrate_arguments import Arguments
from truing.jobs.migrate_losses import Loss

Kind = Literal["no equal", "changed", "default"]


@dataclass(frozen=True)
class Note:
    """What a user must know of one argument.

    Args:
        kind: `no equal`: nothing in the run file does it; `changed`: the run file says it in
            another way; `default`: it was not given, and the other trainer's default is written.
        argument: its name and value as they were given.
        what: what it did, or what it has become.
        fix: what to do; "" where there is nothing to do.
    """

    kind: Kind
    argument: str
    what: str
    fix: str = ""


@dataclass
class Found:
    """The run file as far as it has come.

    Args:
        arguments: what is still to be said.
        keys: of the run file.
        trainer: its block of TrainingArguments.
        notes: in the order of the arguments.
    """

    arguments: Arguments
    keys: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def note(self, kind: Kind, argument: str, what: str, fix: str = "") -> None:
        """Keep a sentence."""
        self.notes.append(Note(kind, argument, what, fix))

    def take(self, name: str, otherwise: Any, *, is_said: bool = True) -> Any:
        """An argument, or the other trainer's default; that a default was taken is said."""
        if is_said and not self.arguments.has(name):
            self.note("default", f"{name}={otherwise}", "not given; this is the default there")
        return self.arguments.take(name, otherwise)

    def take_some(self, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """Those of these arguments that are given."""
        return {name: self.arguments.take(name) for name in defaults if self.arguments.has(name)}

    def idle(self, names: Sequence[str], why: str) -> None:
        """Name those of these arguments that are given and changed nothing there."""
        for name in names:
            if self.arguments.has(name):
                value = self.arguments.take(name)
                self.note("no equal", f"{name}={value}", f"had no effect {why}")

    def use(self, loss: Loss) -> None:
        """Write the objective, and say what never had an effect."""
        self.keys["objective"] = str(loss.objective)
        for name, sentence in loss.idle.items():
            self.note("no equal", name, f"had no effect: it {sentence}")


def number_of(found: Found, name: str, value: Any) -> float:
    """A value that must be a number.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise ConfigError(
        f"`{name}` is no number (got {value!r})", where=found.arguments.source, fix="mend it"
    )


def whole_of(found: Found, name: str, value: Any) -> int:
    """A value that must be a whole number.

    Raises:
        ConfigError: it is none.
    """
    number = number_of(found, name, value)
    if number == int(number):
        return int(number)
    raise ConfigError(
        f"`{name}` is no whole number (got {value!r})", where=found.arguments.source, fix="mend it"
    )


def loss_values(found: Found, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a loss's arguments that are given, each of the kind of its default.

    A default of None stands for a number that may be left out, a tuple for several words.

    Raises:
        ConfigError: a value that must be a number is none.
    """
    given = {name: value for name, value in found.take_some(defaults).items() if value is not None}
    for name, value in given.items():
        if isinstance(defaults[name], tuple) or name == "loss_weights":
            given[name] = value if isinstance(value, list) else [value]
        elif isinstance(defaults[name], str):
            given[name] = str(value)
        elif not isinstance(defaults[name], bool):
            number_of(found, name, value)
    for weight in given.get("loss_weights", []):
        number_of(found, "loss_weights", weight)
    return given
