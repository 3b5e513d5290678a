"""A model that is only read: of a revision, quantised, or waiting elsewhere than on the device."""

import importlib.util
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from truing.engine.adapters import base_of, load_merged
from truing.engine.forward import use_own_attention
from truing.engine.gguf_files import is_gguf
from truing.engine.logps import COMPUTES_ON
from truing.engine.models import LOADING_FAULTS, Numerics, only_here, refuse_absent, refuse_missing
from truing.engine.noise import without_dropout
from truing.errors import ModelError


def refuse_unloadable(
    path: str, device: torch.device, *, revision: str | None, quantisation: str, offload: str
) -> None:
    """What cannot be loaded so, or would have no effect; nothing is read or fetched for that.

    Args:
        path: folder, file or hub name.
        device: where it would compute.
        revision: see `load_frozen`.
        quantisation: see `load_frozen`.
        offload: see `load_frozen`.

    Raises:
        ModelError: names the knob, or the path where nothing lies.
    """
    refuse_absent(path)
    if revision is not None and Path(path).exists():
        raise ModelError(
            f"revision={revision!r} has no effect: this is a folder or file, and only names of the "
            "model hub have revisions",
            where=path,
            fix="leave `revision` out, or give the hub name",
        )
    refuse_absent(base_of(path))
    if quantisation != "none" and is_gguf(path):
        raise ModelError(
            f"quantisation={quantisation!r} is not for a GGUF file, which brings its own",
            where=path,
            fix="leave `quantisation` out, or give the folder with *.safetensors",
        )
    if quantisation != "none" and importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            f"quantisation={quantisation!r} needs bitsandbytes, which is not installed",
            where=path,
            fix="pip install 'truing[quantization]'",
        )
    if offload == "cpu" and device.type == "cpu":
        raise ModelError(
            'offload="cpu" has no effect where the model computes on the CPU',
            where=path,
            fix='leave it out, or use offload="disk"',
        )


def load_frozen(
    path: str, numerics: Numerics, *, revision: str | None, quantisation: str, offload: str
) -> Any:
    """A causal language model for reading alone, on its device, in evaluation mode.

    Args:
        path: folder, file or hub name.
        numerics: dtype of the weights (of what is not quantised), and the device.
        revision: of a hub name.
        quantisation: "none", "int8" or "nf4" (4 bits, bitsandbytes).
        offload: "none"; "cpu" or "disk" keeps the weights there, and moves each layer to the
            device when it is its turn (accelerate).

    Raises:
        ModelError: it cannot be loaded so.
    """
    refuse_unloadable(
        path, numerics.device, revision=revision, quantisation=quantisation, offload=offload
    )
    if revision is None and quantisation == "none":
        model: Any = load_merged(path, numerics.weights)
    else:
        model = _loaded(path, numerics, revision, quantisation)
    model.config.use_cache = False
    if offload == "none":
        # Quantised weights are put on their device as they are loaded.
        return model.eval() if quantisation != "none" else model.to(numerics.device).eval()
    return _offloaded(model.eval(), offload, numerics.device)


def _loaded(path: str, numerics: Numerics, revision: str | None, quantisation: str) -> Any:
    options: dict[str, Any] = {
        "dtype": numerics.weights,
        "use_safetensors": True,
        "trust_remote_code": False,
        "local_files_only": only_here(path),
    }
    if revision is not None:
        options["revision"] = revision
    if quantisation != "none":
        options["quantization_config"] = _quantised(quantisation, numerics.weights)
        options["device_map"] = {"": numerics.device}
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path, output_loading_info=True, **options
        )
    except LOADING_FAULTS as error:
        first = (str(error).strip().splitlines() or [""])[0][:200]
        raise ModelError(
            f"cannot be loaded with quantisation={quantisation!r}, revision={revision!r} ({first})",
            where=path,
            fix="check the name, the revision and the installed bitsandbytes",
        ) from error
    model, found = loaded
    refuse_missing(found, path)
    use_own_attention(model)
    without_dropout(model)
    return model


def _quantised(quantisation: str, dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    if quantisation == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )


def _offloaded(model: Any, offload: str, device: torch.device) -> Any:
    from accelerate import cpu_offload, disk_offload

    setattr(model, COMPUTES_ON, device)
    if offload == "cpu":
        return cpu_offload(model, execution_device=device)
    folder = tempfile.mkdtemp(prefix="truing-offload-")
    # The weights on disk go with the model.
    weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
    return disk_offload(model, offload_dir=folder, execution_device=device)
