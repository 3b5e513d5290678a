"""Which model the policy is held against, written as an expression like an objective.

policy_start()      the policy as it is before the first step (the default)
model(path="...")   another model with the same tokenizer
none()              no reference at all
"""

from dataclasses import dataclass

from truing.core.language import parse


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


Reference = PolicyStart | OtherModel | NoReference


def policy_start() -> PolicyStart:
    """The policy as it is before the first step."""
    return PolicyStart()


def model(path: str) -> OtherModel:
    """Another model with the same tokenizer."""
    return OtherModel(path)


def none() -> NoReference:
    """No reference at all."""
    return NoReference()


_NAMES = {"policy_start": policy_start, "model": model, "none": none}


def parse_reference(text: str) -> Reference:
    """The reference that an expression stands for.

    Raises:
        KnobError: it is no reference expression.
    """
    found: Reference = parse(text, _NAMES, {})
    return found
