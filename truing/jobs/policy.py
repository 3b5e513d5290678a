"""The models of a run: its policy, its reference, and in which numbers they compute."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from truing.config import RunConfig
from truing.engine import ranks
from truing.engine.adapters import is_adapter, load_merged
from truing.engine.gguf_files import is_gguf
from truing.engine.models import Numerics, grow_embedding, load_config, load_model
from truing.engine.noise import refuse_noise, said_before


def autocast(numerics: Numerics) -> AbstractContextManager[Any]:
    """A block in which matrix products are in the run's dtype."""
    if numerics.autocast is None:
        return nullcontext()
    return torch.autocast(numerics.device.type, dtype=numerics.autocast)


def load_start(path: str, config: RunConfig, num_tokens: int, numerics: Numerics) -> Any:
    """A model as it is before the first step, with room for the tokenizer's tokens.

    Raises:
        ModelError: it cannot be loaded, or draws noise other than dropout.
    """
    model: Any = load_merged(path, numerics.weights)
    grow_embedding(model, num_tokens, config.seed)
    model.config.use_cache = False
    if Path(path).exists():
        # An adapter names its base; a relative path would be lost with the working folder.
        model.name_or_path = str(Path(path).resolve())
    model = model.to(numerics.device)
    refuse_noise(model)
    return model


def is_other_than_on_disk(model: Any, path: str) -> bool:
    """Whether an adapter's folder cannot name `path` as its base.

    The embedding was grown, it is a GGUF file, which adapters are not put on by name, or a folder
    of adapters, which none can stand on.
    """
    if is_gguf(path) or is_adapter(path):
        return True
    return model.config.vocab_size != load_config(path).vocab_size


def keep_base(model: Any, run: Path) -> None:
    """Save the base of an adapter beside it, and let the adapter name that one."""
    base = run / "base"
    with said_before(model):
        ranks.only_first(lambda: model.save_pretrained(base))
    model.name_or_path = str(base.resolve())


def load_trained(run: Path, numerics: Numerics) -> Any:
    """The policy of a finished run; an adapter is put on its base.

    Raises:
        ModelError: the folder holds no finished run.
    """
    model: Any = load_model(str(run), numerics.weights)
    return model.to(numerics.device)
