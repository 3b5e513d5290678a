"""With what a run was made: versions and hashes of its data, kept in run.yaml."""

import hashlib
import os
import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from truing.errors import ResumeError

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


def made_with(data: Iterable[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """What goes under `made_with`: versions, hashes of the data files, options of the command."""
    files = [Path(source) for source in data]
    return {
        "versions": versions(),
        "machine": machine(),
        "data": {str(path): file_hash(path) for path in files if path.exists()},
        "options": dict(options),
    }


def read_made_with(run_yaml: Path) -> dict[str, Any]:
    """The block as it was written; empty where there is none."""
    loaded = yaml.safe_load(run_yaml.read_text(encoding="utf-8"))
    return dict(loaded.get("made_with") or {})


def refuse_changed_data(before: Mapping[str, Any], run: Path) -> None:
    """Going on with other rows would be another run.

    Raises:
        ResumeError: a data file has changed or is gone since the run began.
    """
    for name, digest in before.get("data", {}).items():
        path = Path(name)
        if not path.exists() or file_hash(path) != digest:
            raise ResumeError(
                f"{name} is not the file that the run began with",
                where=str(run),
                fix="put the file back, or start a new run",
            )
