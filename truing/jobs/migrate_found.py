"""What a migration has found so far: the keys of a run file, and a sentence for each argument."""

from collections.abc import Mapping
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
