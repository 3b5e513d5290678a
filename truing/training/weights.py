"""Arithmetic on saved weights, file by file: no model is built, one file is loaded at a time."""

import json
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from truing.errors import ModelError
from truing.training import folder

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
# What else makes a model's folder loadable.
_BESIDE = ("*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
_OF_RUNS = {folder.DATA, folder.EVALUATION, folder.FINISHED, _INDEX, "adapter_config.json"}


def extrapolate(trained: Path, before: Path, alpha: float, output: Path) -> Path:
    """A step beyond: trained + alpha * (trained - before), tensor by tensor.

    Computed in float32 (float64 where the weights are), stored in the dtype of `trained`; numbers
    that are no floats are those of `trained`. The folder is whole or not there.

    Args:
        trained: folder of plain weights; adapters must be merged, since the product of
            extrapolated factors is not the extrapolated product.
        before: folder of the weights that `trained` is extrapolated away from.
        alpha: how far, 0 for `trained` itself.
        output: gets the weights, tokenizer and settings of `trained`.

    Raises:
        ModelError: one of them holds no plain weights, or they are of different models.

    Source: arXiv:2410.06293, the extrapolation step in weights.
    """
    old = _places(before)
    with folder.folder_written_aside(output) as aside:
        for file in sorted(set(_places(trained).values())):
            with safe_open(str(file), framework="pt") as shard:
                names = list(shard.keys())
                tensors = {
                    name: _beyond(shard.get_tensor(name), _read(old, name, before), alpha)
                    for name in names
                }
                save_file(tensors, str(aside / file.name), metadata=shard.metadata())
        for pattern in _BESIDE:
            for file in trained.glob(pattern):
                if file.name not in _OF_RUNS:
                    shutil.copy2(file, aside / file.name)
        if (trained / _INDEX).is_file():
            shutil.copy2(trained / _INDEX, aside / _INDEX)
    return output


def _beyond(new: torch.Tensor, old: torch.Tensor, alpha: float) -> torch.Tensor:
    if new.shape != old.shape:
        raise ModelError(
            f"a tensor has the shape {tuple(new.shape)} and had {tuple(old.shape)}",
            where="extrapolation",
            fix="start from a model whose embedding has room for all tokens of the tokenizer",
        )
    if not new.is_floating_point():
        return new
    wide = torch.float64 if new.dtype == torch.float64 else torch.float32
    moved = new.to(wide)
    return (moved + alpha * (moved - old.to(wide))).to(new.dtype).contiguous()


def _places(weights: Path) -> dict[str, Path]:
    """Tensor name -> file."""
    if (weights / _INDEX).is_file():
        index = json.loads((weights / _INDEX).read_text(encoding="utf-8"))["weight_map"]
        return {name: weights / file for name, file in index.items()}
    if not (weights / _SINGLE).is_file():
        raise ModelError(
            "holds no plain weights as safetensors",
            where=str(weights),
            fix="give a folder written by `save_pretrained`, adapters merged",
        )
    with safe_open(str(weights / _SINGLE), framework="pt") as file:
        return dict.fromkeys(file.keys(), weights / _SINGLE)


def _read(places: dict[str, Path], name: str, weights: Path) -> torch.Tensor:
    if name not in places:
        raise ModelError(
            f"has no tensor {name}", where=str(weights), fix="take the start of the same run"
        )
    with safe_open(str(places[name]), framework="pt") as file:
        return file.get_tensor(name)
