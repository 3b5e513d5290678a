"""Weights, gradients and moments cut over the processes (FSDP2), for models above one device.

Each layer is a unit that is gathered for its forward and backward pass, what is left is the root's.
The head's product runs inside the root's forward (`truing.engine.forward`), where its weight is
whole. Gathered numbers are those of the weights: autocast casts in the products, as in one process.
"""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from truing.engine import ranks
from truing.engine.forward import causal_lm
from truing.errors import ConfigError

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def shard(model: Any) -> None:
    """Cut the model in place; from here on only its own forward has its weights at hand.

    Raises:
        ConfigError: there is one process, or the model does not say what its layers are.
    """
    if ranks.world() < 2:
        raise ConfigError(
            "trainer.fsdp has no effect in one process",
            where="trainer.fsdp",
            fix="launch with torchrun --nproc-per-node N -m truing train ..., or leave it out",
        )
    base = causal_lm(model)
    names = set(base._no_split_modules or ())
    layers = [module for module in base.modules() if type(module).__name__ in names]
    if not layers:
        raise ConfigError(
            "this model does not say what its layers are",
            where=type(base).__name__,
            fix="leave trainer.fsdp out",
        )
    for layer in layers:
        fully_shard(layer)
    fully_shard(model)


def is_sharded(model: Any) -> bool:
    """Whether `shard` has cut it."""
    return isinstance(model, FSDPModule)


def whole_weights(model: Any) -> dict[str, Any]:
    """All weights on the CPU of the first process; every process must call it.

    A weight that stands in two places is there once.
    """
    tied = getattr(causal_lm(model), "all_tied_weights_keys", None) or {}
    found = get_model_state_dict(model, options=_WHOLE)
    return {name: value for name, value in found.items() if name not in tied}


def number_of(value: Any) -> float:
    """A scalar that may be cut over the processes."""
    return float(value.full_tensor() if isinstance(value, DTensor) else value)


def load_weights(model: Any, folder: Path) -> None:
    """The first process reads the weights of a checkpoint and hands out their parts."""
    found: dict[str, Any] = {}
    if ranks.is_first():
        adapters = folder / "adapter_model.safetensors"
        files = [adapters] if adapters.exists() else sorted(folder.glob("model*.safetensors"))
        for file in files:
            found |= load_file(file)
        if adapters.exists():
            found = {_with_name(name): value for name, value in found.items()}
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, strict=False)
    set_model_state_dict(model, found, options=options)


def _with_name(name: str) -> str:
    """A saved adapter's weight as the model calls it."""
    head, _, last = name.rpartition(".")
    return f"{head}.default.{last}"
