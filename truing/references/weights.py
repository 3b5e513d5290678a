"""Which weights: the hash of a model's files, each read once and remembered."""

import hashlib
import json
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from truing.data.cache import content_hash
from truing.engine.models import only_here, refuse_absent
from truing.errors import ModelError

# Keys of a model's configuration that change no log-prob.
_WITHOUT_EFFECT = frozenset({"transformers_version", "torch_dtype", "dtype", "_name_or_path"})
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")
_ADAPTER = "adapter_config.json"


def model_files(path: str, revision: str | None = None) -> Path:
    """The folder (or the one file) that holds a model's weights; a hub name is fetched.

    Raises:
        ModelError: there is no such folder and no such name.
    """
    local = Path(path)
    if local.exists():
        return local
    refuse_absent(path)
    try:
        return Path(
            snapshot_download(
                path,
                revision=revision,
                allow_patterns=["*.json", "*.safetensors", "*.model"],
                local_files_only=only_here(path),
            )
        )
    except (OSError, ValueError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise ModelError(
            "there is no such folder, and no model of this name could be had from the model hub",
            where=path,
            fix="check the spelling of the path or the hub name, and the network",
        ) from error


def weights_hash(path: str, revision: str | None = None, *, trusts_memory: bool = True) -> str:
    """A hash of weights and configuration; of adapters together with their base.

    Args:
        path: folder, file or hub name.
        revision: of a hub name.
        trusts_memory: take the hash of a file that looks unchanged from the last time.

    Raises:
        ModelError: nothing that could be a model lies there.
    """
    folder = model_files(path, revision)
    files = [folder] if folder.is_file() else _weight_files(folder)
    if not files:
        raise ModelError(
            "holds no weights", where=path, fix="give a folder with *.safetensors in it"
        )
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(f"{file.name} {content_hash(file, trusts_memory=trusts_memory)}\n".encode())
    config = folder / "config.json"
    if config.is_file():
        digest.update(_effective(config))
    adapter = folder / _ADAPTER
    if adapter.is_file():
        settings = json.loads(adapter.read_text(encoding="utf-8"))
        digest.update(_effective(adapter))
        base = weights_hash(settings["base_model_name_or_path"], trusts_memory=trusts_memory)
        digest.update(base.encode())
    return digest.hexdigest()


def _weight_files(folder: Path) -> list[Path]:
    for pattern in _WEIGHTS:
        found = sorted(folder.glob(pattern))
        # An adapter beside full weights is read, optimizer states and heads are not.
        found = [file for file in found if file.stem not in {"heads", "reference", "optimizer"}]
        if found:
            return found
    return []


def _effective(config: Path) -> bytes:
    values: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
    kept = {key: value for key, value in values.items() if key not in _WITHOUT_EFFECT}
    # Where an adapter's base lies says nothing of what it holds.
    kept.pop("base_model_name_or_path", None)
    return json.dumps(kept, sort_keys=True).encode()
