"""Which model the policy is held against, written as an expression like an objective.

policy_start()                the policy as it is before the first step (the default)
model(path="...")             another model; with another tokenizer it gives sums of the same text
unconditional(policy_start()) a model that does not see the prompt: log p(y)
ema(decay=0.4, every=1)       an average that follows the policy (TR-DPO)
sync(every=512)               the policy as it was every so many steps ago (TR-DPO)
tr_dpo_soft(), tr_dpo_hard()  these two with the paper's settings
several([...])                more than one, in the order in which the objective counts them
none()                        no reference at all
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from truing.core.called import Called
from truing.core.knobs import Count, OpenFraction
from truing.core.language import parse
from truing.errors import KnobError

Dtype = Literal["auto", "float32", "bfloat16", "float16", "float64"]
Quantisation = Literal["none", "int8", "nf4"]
Offload = Literal["none", "cpu", "disk"]
Tokenizer = Literal["auto", "policy", "own"]


@dataclass(frozen=True, repr=False)
class PolicyStart(Called):
    """The policy as it is before the first step: the base with its adapters off under LoRA."""

    word: ClassVar[str] = "policy_start"


@dataclass(frozen=True, repr=False)
class OtherModel(Called):
    """Another model.

    Args:
        path: a folder, a GGUF file or a hub name.
        revision: of a hub name: branch, tag or commit.
        dtype: of its weights and products; "auto": as the run computes.
        quantisation: of its weights: "int8" or "nf4" (4 bits), by bitsandbytes.
        offload: where weights wait that are not at work: "cpu" or "disk".
        tokenizer: "policy": it reads the policy's token ids; "own": it scores the same text in its
            own tokens and gives sums; "auto": the policy's ids where both mean the same by them.
    """

    word: ClassVar[str] = "model"
    path: str
    revision: str | None = None
    dtype: Dtype = "auto"
    quantisation: Quantisation = "none"
    offload: Offload = "none"
    tokenizer: Tokenizer = "auto"


@dataclass(frozen=True, repr=False)
class Unconditional(Called):
    """A model that does not see the prompt: log p(y) in place of log p(y|x) (2407.13709)."""

    word: ClassVar[str] = "unconditional"
    reference: PolicyStart | OtherModel = PolicyStart()


@dataclass(frozen=True, repr=False)
class Ema(Called):
    """reference <- decay * reference + (1 - decay) * policy (TR-DPO's soft update, 2404.09656).

    Args:
        decay: 1 - the paper's alpha.
        every: optimizer steps between two updates, the paper's tau.
    """

    word: ClassVar[str] = "ema"
    decay: OpenFraction
    every: Count = 1


@dataclass(frozen=True, repr=False)
class Sync(Called):
    """reference <- policy, every so many optimizer steps (TR-DPO's hard update, 2404.09656)."""

    word: ClassVar[str] = "sync"
    every: Count


@dataclass(frozen=True, repr=False)
class NoReference(Called):
    """No reference: for objectives that read none."""

    word: ClassVar[str] = "none"


Frozen = PolicyStart | OtherModel | Unconditional
Moving = Ema | Sync
One = Frozen | Moving


@dataclass(frozen=True, repr=False)
class Several(Called):
    """More than one reference, in the order in which the objective counts them."""

    word: ClassVar[str] = "several"
    references: tuple[One, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.references) < 2:
            raise KnobError(
                "needs two references or more", where="several(references=)", fix="write it alone"
            )
        if sum(isinstance(one, Moving) for one in self.references) > 1:
            raise KnobError(
                "can follow the policy with one reference only",
                where="several(references=)",
                fix="keep one of ema(...) and sync(...)",
            )


Reference = One | Several | NoReference


def policy_start() -> PolicyStart:
    """The policy as it is before the first step."""
    return PolicyStart()


def model(
    path: str,
    revision: str | None = None,
    dtype: Dtype = "auto",
    quantisation: Quantisation = "none",
    offload: Offload = "none",
    tokenizer: Tokenizer = "auto",
) -> OtherModel:
    """Another model; see `OtherModel`.

    Raises:
        KnobError: knobs that exclude each other.
    """
    if quantisation != "none" and dtype == "float64":
        raise KnobError(
            "is not for quantised weights",
            where="model(dtype=)",
            fix='leave it out, or use quantisation="none"',
        )
    return OtherModel(path, revision, dtype, quantisation, offload, tokenizer)


def unconditional(reference: Any = None) -> Unconditional:
    """A model that does not see the prompt; the policy's start where none is named."""
    return Unconditional(PolicyStart() if reference is None else reference)


def ema(decay: OpenFraction, every: Count = 1) -> Ema:
    """An average that follows the policy."""
    return Ema(decay, every)


def sync(every: Count) -> Sync:
    """The policy as it was at the last update."""
    return Sync(every)


def tr_dpo_soft(alpha: OpenFraction = 0.6, every: Count = 1) -> Ema:
    """TR-DPO's soft update with the paper's alpha, the policy's share; 0.6 at every step."""
    return Ema(round(1 - alpha, 12), every)


def tr_dpo_hard(every: Count = 512) -> Sync:
    """TR-DPO's hard update with the paper's tau; 512 to 1024 steps."""
    return Sync(every)


def none() -> NoReference:
    """No reference at all."""
    return NoReference()


def several(references: tuple[Any, ...]) -> Several:
    """More than one reference."""
    return Several(references)


NAMES = {
    one.__name__: one
    for one in (policy_start, model, unconditional, ema, sync, tr_dpo_soft, tr_dpo_hard, none)
} | {"several": several}
_FOR_ROUNDS = "it says what the next round is held against: rounds: {reference: ...}"
_HINTS = {"restart": _FOR_ROUNDS, "extrapolate": _FOR_ROUNDS, "frozen": "write policy_start()"}


def parse_reference(text: str) -> Reference:
    """The reference that an expression stands for.

    Raises:
        KnobError: it is no reference expression.
    """
    found: Reference = parse(text, NAMES, _HINTS)
    return found


def each(reference: Reference) -> tuple[One, ...]:
    """The references one by one; none for `none()`."""
    if isinstance(reference, Several):
        return reference.references
    return () if isinstance(reference, NoReference) else (reference,)


def moving_of(reference: Reference) -> tuple[int, Moving] | None:
    """Which of them follows the policy, and its number; None where all stand still."""
    found = [(i, one) for i, one in enumerate(each(reference)) if isinstance(one, Moving)]
    return found[0] if found else None


def standing(reference: Reference) -> list[Frozen]:
    """Each reference, and for one that moves its start: what held-out rows are held against."""
    return [PolicyStart() if isinstance(one, Moving) else one for one in each(reference)]


def model_of(reference: Frozen) -> PolicyStart | OtherModel:
    """The model behind a reference that stands still."""
    return reference.reference if isinstance(reference, Unconditional) else reference


def of_folder(folder: str) -> OtherModel:
    """A folder of weights as a reference: where a round left them, restarted or extrapolated.

    Rounds set the next run's `model` and `reference` to such a value; the store finds by the
    weights' hash what was computed already, whatever the folder is called.
    """
    return OtherModel(folder)
