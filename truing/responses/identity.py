"""Which model is it: a hash of what decides its responses, not of where it lies."""

import json
from functools import lru_cache
from hashlib import file_digest, sha256
from pathlib import Path

from truing.errors import ModelError

# What a model's folder holds beside these (logs, pages, checkpoints) changes no response.
_WEIGHTS = (".safetensors", ".bin", ".gguf")
_WORDS = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
          "adapter_config.json", "chat_template.jinja", "special_tokens_map.json",
          "tokenizer.model", "vocab.json", "merges.txt")  # fmt: skip


def model_place(path: str) -> Path:
    """The folder in which a model's files lie, also one from the hub.

    Raises:
        ModelError: there is no model of that name.
    """
    folder = Path(path).expanduser()
    return folder if folder.is_dir() else _of_hub(path)


def weights_key(path: str) -> str:
    """Sixteen hexadecimal digits of a model's weights, tokenizer and settings.

    Raises:
        ModelError: there is no model of that name.
    """
    if Path(path).expanduser().is_file():
        return sha256(_digest_of(Path(path).expanduser())).hexdigest()[:16]
    folder = model_place(path)
    files = sorted(
        file
        for file in folder.iterdir()
        if file.is_file() and (file.suffix in _WEIGHTS or file.name in _WORDS)
    )
    if not any(file.suffix in _WEIGHTS for file in files):
        raise ModelError(
            "holds no weights",
            where=path,
            fix="give a folder written by `save_pretrained` (config.json beside *.safetensors)",
        )
    digest = sha256()
    for file in files:
        digest.update(f"{file.name}\0".encode())
        digest.update(_digest_of(file))
    base = _base_of_adapter(folder)
    if base is not None and Path(base).is_dir():
        digest.update(weights_key(base).encode())
    return digest.hexdigest()[:16]


def _digest_of(file: Path) -> bytes:
    facts = file.stat()
    return _digest(file, facts.st_size, facts.st_mtime_ns, facts.st_ino)


@lru_cache(maxsize=4096)
def _digest(file: Path, size: int, changed: int, inode: int) -> bytes:
    del size, changed, inode  # they are here to make another file another question
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").digest()


def _base_of_adapter(folder: Path) -> str | None:
    settings = folder / "adapter_config.json"
    if not settings.is_file():
        return None
    return json.loads(settings.read_text(encoding="utf-8")).get("base_model_name_or_path")


def _of_hub(name: str) -> Path:
    """The folder in which the hub's client keeps the files of a model."""
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(name, "config.json")
    except (OSError, ValueError) as error:
        found = None
        first = str(error).splitlines()[:1]
        raise ModelError(
            f"there is no such folder, and no model of this name could be had ({''.join(first)})",
            where=name,
            fix="check the spelling of the path or the hub name, and the network",
        ) from error
    assert found is not None, "the hub's client gives a file or raises"
    return Path(found).parent
