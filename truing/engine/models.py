"""Loading models and tokenizers, and making them fit each other."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from huggingface_hub import constants, is_offline_mode
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from truing.engine.forward import use_own_attention
from truing.engine.gguf_files import is_gguf, load_gguf, place_of, split_as_learned
from truing.engine.noise import without_dropout
from truing.errors import ModelError

# Code that lies beside the weights is never run, and nobody is asked whether it may be.
_NO_CODE: dict[str, Any] = {"trust_remote_code": False}
# What transformers raises for a folder, hub name or file that it cannot make a model of.
LOADING_FAULTS = (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError)


@dataclass(frozen=True)
class Numerics:
    """In which numbers a run computes.

    Args:
        weights: dtype the weights are loaded and updated in.
        autocast: dtype of the matrix products, or None where it is that of the weights.
        device: where the model lives.
    """

    weights: torch.dtype
    autocast: torch.dtype | None
    device: torch.device


def choose_numerics(dtype: str) -> Numerics:
    """`auto` is bfloat16 products on a GPU that has them, float32 elsewhere.

    bfloat16 keeps float32 weights and casts in the products: at the learning rates of preference
    training an update is smaller than the last bit of a bfloat16 weight.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if dtype == "auto":
        has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        dtype = "bfloat16" if has_bfloat16 else "float32"
    if dtype == "bfloat16":
        return Numerics(torch.float32, torch.bfloat16, device)
    return Numerics(getattr(torch, dtype), None, device)


def is_hub_name(path: str) -> bool:
    """Whether a model hub could know this name: `name` or `owner/name`; a path has other signs."""
    try:
        validate_repo_id(path)
    except HFValidationError:
        return False
    return not is_gguf(path)


def refuse_absent(path: str) -> None:
    """A path where nothing lies, and which is no name that a model hub could know.

    Raises:
        ModelError: it is one.
    """
    if not Path(path).exists() and not is_hub_name(path):
        raise _absent(path)


def _absent(path: str) -> ModelError:
    return ModelError(
        "there is no such folder or file", where=path, fix="check the spelling of the path"
    )


def only_here(path: str) -> bool:
    """Whether to look for a model on this machine alone: there is no way to the hub.

    Asking the name service once takes a moment; the hub's client would try five times, with pauses.
    """
    if Path(path).exists():
        return False
    if is_offline_mode():
        return True
    host = urlparse(constants.ENDPOINT).hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return True
    return False


def load_tokenizer(path: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder, GGUF file or hub name (of a branch, tag or commit there).

    Raises:
        ModelError: it cannot be loaded, or has no end token.
    """
    place, file = place_of(path)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            place, local_files_only=only_here(place), **_of(revision), **_NO_CODE, **file
        )
    except LOADING_FAULTS as error:
        raise _unloadable("tokenizer", path, error) from error
    if file:
        split_as_learned(path, tokenizer)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "the tokenizer has no end token", where=path, fix="set eos_token in its configuration"
        )
    return tokenizer


def load_model(path: str, dtype: torch.dtype) -> PreTrainedModel:
    """The causal language model of a folder, GGUF file or hub name, evaluating, all dropout 0.

    The blocks of a GGUF file become numbers of `dtype`: what is trained is no longer quantised.

    Raises:
        ModelError: it cannot be loaded.
    """
    place, file = place_of(path)
    try:
        loaded: Any = (
            (load_gguf(place, file, dtype), {})
            if file
            else AutoModelForCausalLM.from_pretrained(
                place,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=only_here(place),
                output_loading_info=True,
                **_NO_CODE,
            )
        )
    except LOADING_FAULTS as error:
        raise _unloadable("model", path, error) from error
    model, found = loaded
    refuse_missing(found, path)
    # Torch's own attention in every plain call, on every device; families with attention of their
    # own keep it.
    use_own_attention(model)
    without_dropout(model)
    return model.eval()


def refuse_missing(found: Mapping[str, Any], path: str) -> None:
    """Weights that the files lack were drawn at random, with a word of transformers at most.

    Args:
        found: what transformers says of a model that it has loaded (`output_loading_info`).
        path: of the model.

    Raises:
        ModelError: names some of them.
    """
    missing = sorted(found.get("missing_keys", ()))
    if missing:
        shown = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
        raise ModelError(
            f"{len(missing)} of the model's weights are not in its files ({shown})",
            where=path,
            fix="fetch or save it again, and see that it is of the kind that is asked for",
        )


def load_config(path: str, revision: str | None = None) -> Any:
    """The configuration of the model of a folder, GGUF file or hub name (of a revision there).

    Raises:
        ModelError: it cannot be loaded.
    """
    place, file = place_of(path)
    try:
        return AutoConfig.from_pretrained(
            place, local_files_only=only_here(place), **_of(revision), **_NO_CODE, **file
        )
    except LOADING_FAULTS as error:
        raise _unloadable("model", path, error) from error


def _of(revision: str | None) -> Mapping[str, str]:
    """Left out where none is named: a GGUF file's loader takes none."""
    return {} if revision is None else {"revision": revision}


def _unloadable(kind: str, path: str, error: BaseException) -> ModelError:
    first = str(error).strip().splitlines()
    reason = f" ({first[0][:200]})" if first else ""
    if is_gguf(path):
        return ModelError(
            f"no {kind} can be made of this GGUF file{reason}",
            where=path,
            fix="give the tokenizer by itself: tokenizer=FOLDER"
            if kind == "tokenizer"
            else "give a family that transformers reads from GGUF, or its folder of safetensors",
        )
    if Path(path).exists():
        return ModelError(
            f"no {kind} can be loaded from this folder{reason}",
            where=path,
            fix="give a folder written by `save_pretrained` (config.json beside *.safetensors)",
        )
    if not is_hub_name(path):
        return _absent(path)
    return ModelError(
        f"there is no such folder, and no {kind} of this name could be had from the model hub",
        where=path,
        fix="check the spelling of the path or the hub name, and the network",
    )


def grow_embedding(model: PreTrainedModel, num_tokens: int, seed: int) -> int:
    """Make room for tokens the tokenizer has and the model has not; how many rows were added.

    The new rows depend on the seed alone, so that policy and reference get the same ones.
    """
    embedding: Any = model.get_input_embeddings()
    missing = num_tokens - int(embedding.weight.shape[0])
    if missing <= 0:
        return 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.resize_token_embeddings(num_tokens)
    return missing


def max_positions(model_config: Any, tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens the model can read: the smaller of what model and tokenizer say."""
    limits = [
        value
        for value in (
            getattr(model_config, "max_position_embeddings", None),
            getattr(model_config, "n_positions", None),
            tokenizer.model_max_length,
        )
        # Tokenizers without a limit carry a number of thirty digits.
        if isinstance(value, int) and 0 < value < 10**9
    ]
    return min(limits, default=4096)
