"""Low-rank adapters on disk: what they stand on, and what base and adapters are together."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from truing.engine.models import LOADING_FAULTS, load_model
from truing.errors import ModelError

DESCRIPTION = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"


def is_adapter(path: str | Path) -> bool:
    """Whether the folder holds low-rank adapters and the name of their base."""
    return (Path(path) / DESCRIPTION).is_file()


def base_of(path: str) -> str:
    """The model that a folder of adapters stands on; any other path as it is."""
    if not is_adapter(path):
        return path
    description = json.loads((Path(path) / DESCRIPTION).read_text(encoding="utf-8"))
    return str(description["base_model_name_or_path"])


def load_merged(path: str, dtype: torch.dtype) -> PreTrainedModel:
    """The model of a folder or hub name as plain weights: adapters are added to their base.

    Raises:
        ModelError: it cannot be loaded.
    """
    model: Any = load_model(base_of(path), dtype)
    if is_adapter(path):
        model = _with_adapters(model, path).merge_and_unload()
        # Everything but the adapters was frozen under them.
        model.requires_grad_(requires_grad=True)
    return model


def _with_adapters(model: Any, path: str) -> Any:
    """The model under adapters whose every weight is read from safetensors.

    Raises:
        ModelError: there are none, they are damaged, of another model, or some of them are gone
            (which would be drawn at random).
    """
    file = Path(path) / _WEIGHTS
    if not file.is_file():
        raise _unfit(path, f"holds no {_WEIGHTS}")
    try:
        with warnings.catch_warnings():
            # Of weights that are gone peft says this alone, and draws them at random.
            warnings.filterwarnings("error", message=".*missing adapter keys")
            return PeftModel.from_pretrained(model, path)
    except (*LOADING_FAULTS, UserWarning) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise _unfit(path, f"holds adapters that cannot be put on their base ({first})") from error


def _unfit(path: str, what: str) -> ModelError:
    return ModelError(
        what, where=path, fix="give the folder of a finished run with lora, or of peft"
    )
