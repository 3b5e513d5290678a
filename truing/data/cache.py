"""Token ids that were computed once: found again by what was tokenised, and by which tokenizer.

And the memory of hashes: a file is known by its path, size, inode and both its times, so that a
second run does not read gigabytes again. Who changes a file in place can put back the time of its
content, not that of its inode.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from truing.data.rows import Row, spoken

# Below so many characters of text a batch is tokenised faster than a file is found.
_WORTHWHILE = 500_000
# What changes the ids for equal texts; part of the key.
FORMAT = b"truing tokens 3"


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
        digest = hashlib.blake2b(FORMAT + self._key, digest_size=16)
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
            with suppress(OSError):
                aside.unlink()


def content_hash(file: Path, *, trusts_memory: bool = True) -> str:
    """A hash of a file's bytes.

    Args:
        file: that is there.
        trusts_memory: take the hash of a file that looks unchanged from the last time.
    """
    real = file.resolve()
    facts = real.stat()
    seen = [str(real), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
    known = recalled("hashes", str(real)) if trusts_memory else {}
    if known.get("seen") == seen:
        return str(known["hash"])
    with real.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    remember("hashes", str(real), {"seen": seen, "hash": found})
    return found


def recalled(group: str, name: str) -> dict[str, Any]:
    """What was remembered under a name; {} where nothing was."""
    try:
        return dict(json.loads(_note(group, name).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def remember(group: str, name: str, values: dict[str, Any]) -> None:
    """Keep something for the next run; where it cannot be written, that one finds out again."""
    note = _note(group, name)
    aside = note.with_suffix(f".{os.getpid()}.part")
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(values), encoding="utf-8")
        aside.replace(note)
    except OSError:
        with suppress(OSError):
            aside.unlink()


def _note(group: str, name: str) -> Path:
    digest = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
    return cache_folder() / group / f"{digest}.json"
