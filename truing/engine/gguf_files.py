"""Where transformers finds a model: a folder or hub name, or a GGUF file within its folder."""

import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, GgufConfig

from truing.errors import ModelError

# What `tokenizer.ggml.pre` says of vocabularies whose merges never saw two digits together;
# transformers 5.23 splits their text as GPT-2 does.
_DIGITS_APART = frozenset(
    {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}
)


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


def split_as_learned(path: str, tokenizer: Any) -> None:
    """Let text be cut as the file's vocabulary was learned: each digit by itself where it says so.

    Otherwise numbers, and what stands before them, get other ids than the model was trained on.
    """
    if _cut_of(path, Path(path).stat().st_mtime_ns) in _DIGITS_APART:
        backend = tokenizer.backend_tokenizer
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), backend.pre_tokenizer]
        )


@functools.lru_cache(maxsize=8)
def _cut_of(path: str, changed: int) -> str | None:
    """What the file calls its way to cut text; reading its header takes seconds."""
    from gguf import GGUFReader

    field = GGUFReader(path).get_field("tokenizer.ggml.pre")
    return None if field is None else str(field.contents())
