"""`truing doctor`: versions and machine, and which engine a family of models gets on them."""

import os
import platform
from dataclasses import dataclass
from importlib import metadata

import psutil
import torch

from truing.core.progress import SILENT, Progress
from truing.engine.architectures import ARCHITECTURES, Architecture
from truing.engine.choose import choose_engine
from truing.engine.models import load_model
from truing.jobs.made_with import machine, versions

# Beside what decides a run's numbers: what reads, writes or computes where it is installed.
_ALSO = ("datasets", "pyarrow", "safetensors", "bitsandbytes", "gguf", "ray", "vllm", "trl")
# Of the tiny models' forward passes; the probe's rows have 30 tokens.
TOKENS = 1000


def surroundings() -> dict[str, str]:
    """What a report of a bug should hold: versions, system, processor, memory, GPUs, cache."""
    found = versions()
    for name in _ALSO:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    found |= {**machine(), "system": platform.platform()}
    found["memory"] = _gib(psutil.virtual_memory().total)
    for number in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(number)
        found[f"GPU {number}"] = f"{device.name}, {_gib(device.total_memory)}"
    found |= {"CUDA of torch": torch.version.cuda} if torch.version.cuda else {}
    names = ("TRUING_CACHE", "HF_HOME", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    return found | {name: os.environ[name] for name in names if name in os.environ}


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


@dataclass(frozen=True)
class ArchitectureLine:
    """What `engine: auto` takes for one family.

    Args:
        name: transformers' `model_type`, with a word behind it for a variant.
        engine: `shared`, `packed` or `padded`.
        reason: why it is not the fastest; empty where it is.
        is_expected: whether it is what Truing was tested with.
    """

    name: str
    engine: str
    reason: str
    is_expected: bool


def architecture_table(progress: Progress = SILENT) -> tuple[ArchitectureLine, ...]:
    """The start-up probe's word on a tiny random model of every family."""
    shown = progress.track(
        ARCHITECTURES, total=len(ARCHITECTURES), description="families of models"
    )
    return tuple(_line(architecture) for architecture in shown)


def _line(architecture: Architecture) -> ArchitectureLine:
    choice = choose_engine("auto", architecture.build(), TOKENS)
    return ArchitectureLine(
        architecture.name,
        choice.name,
        choice.reason,
        (choice.name == "shared") == architecture.shares,
    )


def model_line(path: str) -> ArchitectureLine:
    """The start-up probe's word on one model: a folder, a GGUF file or a hub name.

    Raises:
        ModelError: it cannot be loaded.
    """
    model = load_model(path, torch.float32)
    choice = choose_engine("auto", model, TOKENS)
    name = f"{path} ({model.config.model_type})"
    return ArchitectureLine(name, choice.name, choice.reason, is_expected=True)


def as_markdown(lines: tuple[ArchitectureLine, ...]) -> str:
    """The table as it stands in the documentation."""
    rows = [f"| {line.name} | {line.engine} | {line.reason} |" for line in lines]
    return "\n".join(["| family | engine | why not shared |", "| --- | --- | --- |", *rows])
