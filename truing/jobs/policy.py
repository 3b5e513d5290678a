"""The models of a run: its policy, its reference, and in which numbers they compute."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from truing.config import RunConfig
from truing.engine.models import Numerics, grow_embedding, load_model
from truing.references.policies import NoReference, OtherModel, Reference


def autocast(numerics: Numerics) -> AbstractContextManager[Any]:
    """A block in which matrix products are in the run's dtype."""
    if numerics.autocast is None:
        return nullcontext()
    return torch.autocast(numerics.device.type, dtype=numerics.autocast)


def load_start(path: str, config: RunConfig, num_tokens: int, numerics: Numerics) -> Any:
    """A model as it is before the first step, with room for the tokenizer's tokens.

    Raises:
        ModelError: it cannot be loaded.
    """
    model: Any = load_model(path, numerics.weights)
    grow_embedding(model, num_tokens, config.seed)
    model.config.use_cache = False
    return model.to(numerics.device)


def load_reference(
    reference: Reference, config: RunConfig, num_tokens: int, numerics: Numerics
) -> Any | None:
    """The reference model of a run by itself; None without one.

    Raises:
        ModelError: it cannot be loaded.
    """
    if isinstance(reference, NoReference):
        return None
    path = reference.path if isinstance(reference, OtherModel) else config.model
    return load_start(path, config, num_tokens, numerics)


def load_trained(run: Path, numerics: Numerics) -> Any:
    """The policy of a finished run; an adapter is put on its base.

    Raises:
        ModelError: the folder holds no finished run.
    """
    return load_model(str(run), numerics.weights).to(numerics.device)
