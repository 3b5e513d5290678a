"""Every error that a user can cause says what is wrong, where, and how to mend it.

    TruingError
    +-- ConfigError     a key or value of the configuration, an override, a command's argument
    |   +-- KnobError   a recipe, part or expression: name, argument or range
    |   +-- NeedsError  what an objective needs and the data or the reference cannot give
    +-- RowError        the data: file, row, column
    +-- ModelError      a model or tokenizer that cannot be loaded or used
    +-- StoreError      a stored reference or cache that does not fit
    +-- FitError        what does not fit into memory or into the token budget
    +-- ResumeError     a run folder that cannot be continued
    +-- StoppedError    the run stopped itself with its state saved (exit code 3)
        +-- DivergedError   for what it learned: not finite, or no pair left

Exit codes: 1 for a TruingError, 3 for a StoppedError, 2 for wrong usage of the command line,
70 for a bug, 130 for an interrupt.
"""


class TruingError(Exception):
    """What went wrong, where, and how to mend it; the three parts of every message.

    Args:
        what: one sentence on the fault, without a full stop.
        where: file and row, configuration key, or the expression that holds the fault; "" where
            the whole command is meant.
        fix: what the user can do about it; "" only where `what` already says it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str, fix: str) -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(what, where, fix)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        # One process of a run tells the others what it met.
        return _again, (type(self), self.what, self.where, self.fix)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  fix: {self.fix}" if self.fix else head


def _again(kind: type[TruingError], what: str, where: str, fix: str) -> TruingError:
    return kind(what, where=where, fix=fix)


class ConfigError(TruingError):
    """A key or value of the configuration, an override, or an argument of a command."""


class KnobError(ConfigError):
    """A recipe, part or expression: its name, one of its arguments, or a value out of range."""


class NeedsError(ConfigError):
    """An objective needs something that the data or the reference cannot give."""


class RowError(TruingError):
    """A row of the data; `where` names file, row and column."""


class ModelError(TruingError):
    """A model or tokenizer that cannot be loaded, or cannot be used for what was asked."""


class StoreError(TruingError):
    """A stored reference or cache that is damaged or belongs to something else."""


class FitError(TruingError):
    """Something that does not fit into memory or into the token budget."""


class ResumeError(TruingError):
    """A run folder that cannot be continued."""


class StoppedError(TruingError):
    """The run stopped itself and saved its state, for instance on a loss that is not finite."""

    exit_code = 3


class DivergedError(StoppedError):
    """A run that stopped itself for what it learned.

    Its loss or gradient is not finite, or its own responses give no pair any more: a finding about
    its settings, not a want of memory or disk.
    """
