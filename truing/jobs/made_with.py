"""With what a run was made: versions, hashes of its data and models, kept in run.yaml."""

import hashlib
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from truing.config import RunConfig
from truing.errors import ResumeError
from truing.references.policies import Moving, OtherModel, each, model_of, parse_reference
from truing.references.weights import weights_hash

_PACKAGES = ("truing", "torch", "transformers", "accelerate", "peft", "tokenizers", "numpy")


def versions() -> dict[str, str]:
    """Installed versions of what decides a run's numbers."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str]:
    """What the numbers were computed on."""
    import torch

    found = {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
    }
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
    return found


def file_hash(path: Path) -> str:
    """SHA-256 of a file, or of every file below a folder in order of name."""
    digest = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def made_with(config: RunConfig, options: Mapping[str, Any]) -> dict[str, Any]:
    """What goes under `made_with`: versions, hashes of data and models, options of the command.

    Raises:
        ModelError: a model is not there.
    """
    # To train on, drawn beside them, held out.
    held = [] if config.evaluation.data is None else [config.evaluation.data]
    files = [Path(name) for name in (*config.data_paths, *config.auxiliary.values(), *held)]
    return {
        "versions": versions(),
        "machine": machine(),
        "data": {str(path): file_hash(path) for path in files if path.exists()},
        "models": models_of(config),
        "options": dict(options),
    }


def models_of(config: RunConfig) -> dict[str, str]:
    """Hashes of the weights that a run starts from, and of the models it is held against.

    Raises:
        ModelError: a model is not there.
    """
    found = {config.model: weights_hash(config.model)}
    for one in each(parse_reference(config.reference)):
        other = None if isinstance(one, Moving) else model_of(one)
        if isinstance(other, OtherModel):
            found[other.path] = weights_hash(other.path, other.revision)
    return found


def read_made_with(run_yaml: Path) -> dict[str, Any]:
    """The block as it was written; empty where there is none."""
    loaded = yaml.safe_load(run_yaml.read_text(encoding="utf-8"))
    return dict(loaded.get("made_with") or {})


def refuse_changed(before: Mapping[str, Any], config: RunConfig, run: Path) -> None:
    """Going on with other rows, or from another model, would be another run.

    Raises:
        ResumeError: a file of rows or a model has changed or is gone since the run began.
        ModelError: a model is not there.
    """
    for name, digest in before.get("data", {}).items():
        path = Path(name)
        if not path.exists() or file_hash(path) != digest:
            raise ResumeError(
                f"{name} is not the file that the run began with",
                where=str(run),
                fix="put the file back, or start a new run",
            )
    now = models_of(config) if before.get("models") else {}
    for name, digest in before.get("models", {}).items():
        if now.get(name) != digest:
            raise ResumeError(
                f"{name} does not hold the weights that the run began with",
                where=str(run),
                fix="put them back, or start a new run",
            )
