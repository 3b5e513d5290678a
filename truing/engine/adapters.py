"""Low-rank adapters on disk: what they stand on, and what base and adapters are together."""

import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from truing.engine.models import load_model

DESCRIPTION = "adapter_config.json"


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
        model = PeftModel.from_pretrained(model, path).merge_and_unload()
        # Everything but the adapters was frozen under them.
        model.requires_grad_(requires_grad=True)
    return model
