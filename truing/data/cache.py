"""Token ids that were computed once: found again by what was tokenised, and by which tokenizer."""

import hashlib
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from truing.data.rows import Row, spoken

# Below so many characters of text a batch is tokenised faster than a file is found.
_WORTHWHILE = 500_000
# What changes the ids for equal texts; part of the key.
_FORMAT = b"truing tokens 3"


def cache_folder() -> Path:
    """`$TRUING_CACHE`, or `truing` in the user's folder of caches; it may be deleted any time."""
    given = os.environ.get("TRUING_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "truing"


def is_worth_a_file(rows: Sequence[Row]) -> bool:
    """Whether tokenising these rows takes longer than finding them again."""
    return sum(len(text) for row in rows for text in spoken(row)) >= _WORTHWHILE


class TokenCache:
    """Arrays of whole batches of rows, one file a batch.

    Args:
        key: of the tokenizer, template and end token.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def path(self, rows: Sequence[Row]) -> Path:
        """Where the batch lies or would lie."""
        digest = hashlib.blake2b(_FORMAT + self._key, digest_size=16)
        for row in rows:
            digest.update(row.id.to_bytes(8, "little", signed=True))
        return cache_folder() / "tokens" / f"{digest.hexdigest()}.npz"

    @staticmethod
    def load(path: Path) -> dict[str, np.ndarray] | None:
        """The arrays, or None where they are not there or damaged (the file's checksum says so)."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    @staticmethod
    def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
        """Written aside and renamed; a folder that cannot be written is no fault."""
        aside = path.with_suffix(f".{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            aside.replace(path)
        except OSError:
            aside.unlink(missing_ok=True)
