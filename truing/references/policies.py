"""Which model the policy is held against, written as an expression like an objective.

policy_start()      the policy as it is before the first step (the default)
model(path="...")   another model with the same tokenizer
none()              no reference at all
"""

from dataclasses import dataclass
from typing import Any

from truing.core.language import parse
from truing.errors import KnobError


@dataclass(frozen=True)
class PolicyStart:
    """The policy as it is before the first step: the base with its adapters off under LoRA."""

    def __repr__(self) -> str:
        return "policy_start()"


@dataclass(frozen=True)
class OtherModel:
    """Another model: a folder or hub name."""

    path: str

    def __repr__(self) -> str:
        return f"model(path={self.path!r})"


@dataclass(frozen=True)
class NoReference:
    """No reference: for objectives that read none."""

    def __repr__(self) -> str:
        return "none()"


@dataclass(frozen=True)
class Several:
    """More than one reference, in the order in which the objective counts them."""

    references: tuple[PolicyStart | OtherModel, ...]

    def __repr__(self) -> str:
        return f"several([{', '.join(map(repr, self.references))}])"


Reference = PolicyStart | OtherModel | Several | NoReference


def policy_start() -> PolicyStart:
    """The policy as it is before the first step."""
    return PolicyStart()


def model(path: str) -> OtherModel:
    """Another model with the same tokenizer."""
    return OtherModel(path)


def none() -> NoReference:
    """No reference at all."""
    return NoReference()


def several(references: tuple[Any, ...]) -> Several:
    """More than one reference."""
    for one in references:
        if not isinstance(one, PolicyStart | OtherModel):
            raise KnobError(
                f"{one!r} cannot be one of several references",
                where="several(references=)",
                fix='write several([policy_start(), model(path="...")])',
            )
    if len(references) < 2:
        raise KnobError(
            "needs two references or more", where="several(references=)", fix="write the one alone"
        )
    return Several(references)


_NAMES = {"policy_start": policy_start, "model": model, "several": several, "none": none}


def parse_reference(text: str) -> Reference:
    """The reference that an expression stands for.

    Raises:
        KnobError: it is no reference expression.
    """
    found: Reference = parse(text, _NAMES, {})
    return found


def each(reference: Reference) -> tuple[PolicyStart | OtherModel, ...]:
    """The references one by one; none for `none()`."""
    if isinstance(reference, Several):
        return reference.references
    return () if isinstance(reference, NoReference) else (reference,)
