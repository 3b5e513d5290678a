"""Which engine a run gets: the fastest that is exact on its model, or the one asked for."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import MappingProxyType

from torch import nn

from truing.engine.forward import causal_lm
from truing.engine.logps import Engine, TokenRow
from truing.engine.padded import PaddedEngine
from truing.engine.probe import Autocast, FastEngine, fault_of
from truing.engine.shared import PackedEngine, SharedEngine
from truing.errors import ModelError

# Fastest first; the padded path is always exact and always last.
FAST: Mapping[str, Callable[[int], FastEngine]] = MappingProxyType(
    {"shared": SharedEngine, "packed": PackedEngine}
)
# Every value of the key `engine`, and what plans rows before the model is there.
ENGINES: Mapping[str, Callable[[int], Engine]] = MappingProxyType(
    {"auto": SharedEngine, **FAST, "padded": PaddedEngine}
)


@dataclass(frozen=True)
class EngineChoice:
    """An engine, and why it is this one.

    Args:
        engine: proved exact on the model.
        name: its value of the key `engine`.
        note: one line for the user.
        reason: why it is not a faster one, as the end of a sentence; empty where it is the fastest
            or the one asked for.
    """

    engine: Engine
    name: str
    note: str
    reason: str = ""


def choose_engine(
    kind: str,
    model: nn.Module,
    tokens_per_device: int,
    rows: Sequence[TokenRow] = (),
    autocast: Autocast = nullcontext,
) -> EngineChoice:
    """The engine of a run, proved exact on the model before the first step.

    Args:
        kind: `auto`, or one of `shared`, `packed`, `padded`.
        model: with its real weights and adapters.
        tokens_per_device: budget of one forward pass.
        rows: real rows; the longest is compared with the padded path.
        autocast: opens the block in which the run computes.

    Raises:
        ModelError: the engine that was asked for is not exact on this model.
    """
    if kind == "padded":
        return EngineChoice(PaddedEngine(tokens_per_device), kind, "engine: padded, as asked for")
    asked = FAST if kind == "auto" else {kind: FAST[kind]}
    faults: dict[str, str] = {}
    for name, build in asked.items():
        engine = build(tokens_per_device)
        fault = fault_of(_for_probe(engine), model, rows, autocast)
        if not fault:
            before = "".join(f"; not {other}, as {why}" for other, why in faults.items())
            note = f"engine: {name}, proved exact on this model{before}"
            return EngineChoice(engine, name, note, "; ".join(faults.values()))
        faults[name] = fault
    why = next(iter(faults.values()))
    if kind != "auto":
        raise ModelError(
            f"engine={kind} is not exact on this model, as {why}",
            where=type(causal_lm(model)).__name__,
            fix="use engine=auto, which takes the fastest exact one",
        )
    padded = PaddedEngine(tokens_per_device)
    return EngineChoice(padded, "padded", f"engine: padded, as {why}", why)


def _for_probe(engine: FastEngine) -> FastEngine:
    """The probe's prompts are short: they share blocks of two tokens."""
    if isinstance(engine, SharedEngine):
        return SharedEngine(engine.tokens_per_device, block=2)
    return engine
