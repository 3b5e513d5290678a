"""Where transformers finds a model: a folder or hub name, or a GGUF file within its folder."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GgufConfig

from truing.errors import ModelError


def is_gguf(path: str) -> bool:
    """Whether the path names a GGUF file."""
    return path.lower().endswith(".gguf")


def place_of(path: str) -> tuple[str, Mapping[str, str]]:
    """What `from_pretrained` takes: the place, and beside it the file's name where it is GGUF.

    Raises:
        ModelError: there is no such file, or the package that reads them is missing.
    """
    if not is_gguf(path):
        return path, {}
    file = Path(path)
    if not file.is_file():
        raise ModelError("there is no such GGUF file", where=path, fix="give the path of the file")
    if importlib.util.find_spec("gguf") is None:
        raise ModelError(
            "the package that reads GGUF files is not installed",
            where=path,
            fix="pip install 'truing[gguf]'",
        )
    return str(file.parent), {"gguf_file": file.name}


def load_gguf(place: str, file: Mapping[str, str], dtype: torch.dtype) -> Any:
    """The model of a GGUF file as any other: its blocks become numbers of `dtype`.

    Left in blocks it would call itself quantised, which trainers refuse.
    """
    unpacked = GgufConfig(dequantize=True)
    return AutoModelForCausalLM.from_pretrained(
        place, dtype=dtype, quantization_config=unpacked, **file
    )
