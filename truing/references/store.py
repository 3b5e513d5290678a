"""Token log-probs on disk: one shelf a model, of shards that are whole or not there.

    references/<key of the model>/model.json      what the key stands for, and when it was used
                                  <checksum>.arrow  a shard: 16-byte keys, float32 log-probs
                                  lock              held by who computes

A shard's name is the checksum of its bytes, so a flipped one is found before it is read.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from filelock import FileLock, Timeout

from truing.core.progress import Progress
from truing.data.cache import cache_folder
from truing.errors import StoreError
from truing.references.entries import SHARD, Entries, Places
from truing.references.keys import ModelKey

_MODEL, _LOCK, _PART = "model.json", "lock", ".part"
# Bytes of a response beside its log-probs: its key and where they end.
ROW_BYTES, TOKEN_BYTES = 20, 4
# Seconds between two looks at what another process has stored meanwhile.
_LOOK_S = 2.0


def store_folder() -> Path:
    """Beside the token cache: `$TRUING_CACHE`, or `truing` in the user's folder of caches."""
    return cache_folder() / "references"


@dataclass(frozen=True)
class Contents:
    """What lies on a shelf.

    Args:
        responses: distinct ones.
        tokens: their tokens.
        size: bytes of all shards.
        shards: whole ones.
        damaged: names of those whose checksum is wrong.
    """

    responses: int
    tokens: int
    size: int
    shards: int
    damaged: tuple[str, ...]


class Shelf:
    """The stored log-probs of one model.

    Args:
        folder: of this model; made when something is put there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[Entries] = []
        """What was read or put here, in that order."""
        self._read: set[str] = set()
        self.damaged: list[str] = []
        """Shards that were found damaged and taken away."""
        self.fault: str = ""
        """Why nothing can be put here; "" while it can."""

    @classmethod
    def of(cls, key: ModelKey, root: Path | None = None) -> "Shelf":
        """The shelf of a model."""
        return cls((root or store_folder()) / key.name)

    # ------------------------------------------------------------------ reading
    def refresh(self, *, mends: bool = True) -> None:
        """Read shards that were not there before; a damaged one is taken away, if `mends`."""
        for path in self.shards():
            if path.name in self._read:
                continue
            found = Entries.read(path)
            if found is None:
                if mends:
                    self.damaged.append(path.name)
                    _remove(path)
                continue
            self._read.add(path.name)
            self.entries += found

    def shards(self) -> list[Path]:
        """Files of whole shards, in order of name."""
        return sorted(self.folder.glob(f"*{SHARD}"))

    def values(self) -> dict[bytes, np.ndarray]:
        """Everything that was read or put here: key -> token log-probs, float32."""
        return {key: values for some in self.entries for key, values in some.items()}

    def forget(self) -> None:
        """Take away everything that lies here."""
        for path in self.shards():
            _remove(path)
        self.entries.clear()
        self._read.clear()

    def remove(self) -> None:
        """Take away the shelf itself."""
        self.forget()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sweep(self) -> list[str]:
        """Take away damaged shards; their names."""
        self.refresh()
        return self.damaged

    # ------------------------------------------------------------------ writing
    def put(self, keys: Sequence[bytes], values: Sequence[np.ndarray]) -> None:
        """Write one shard, whole or not at all, and keep its values at hand.

        Raises:
            StoreError: it cannot be written; what was there before is untouched.
        """
        made = Entries.of(keys, values)
        self.entries.append(made)
        data = made.to_bytes()
        name = xxhash.xxh3_128_hexdigest(data) + SHARD
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / name, data)
        except OSError as error:
            self.fault = f"{error.strerror or error} ({self.folder})"
            raise StoreError(
                f"a reference cannot be stored: {error.strerror or error}",
                where=str(self.folder),
                fix="make room (truing reference prune), or set TRUING_CACHE to another disk",
            ) from error
        self._read.add(name)
        # From now on the values lie in the file, and take no memory of their own.
        self.entries[-1:] = Entries.read(self.folder / name) or [made]

    def describe(self, key: ModelKey, path: str) -> None:
        """Note what the key stands for, and that it is used now."""
        note = self.folder / _MODEL
        text = json.dumps({**key.facts, "model": path}, indent=2)
        try:
            if not note.exists():
                self.folder.mkdir(parents=True, exist_ok=True)
                write_whole(note, text.encode())
            os.utime(note)
        except OSError as error:
            self.fault = f"{error.strerror or error} ({self.folder})"

    @contextmanager
    def held(
        self, progress: Progress, places: Places | None = None, description: str = "reference"
    ) -> Iterator[None]:
        """Hold the shelf while something is computed for it; wait for another process that does.

        What the other one stored is read before the block begins.

        Args:
            progress: shows the waiting, and how much of it the other one has stored.
            places: of what this process wants.
            description: what the work is called.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / _LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                progress.note("another process computes this reference; waiting for it")
                self._wait(lock, progress, places, description)
        except OSError as error:
            # A store that cannot be locked cannot be written either: the values stay in memory.
            self.fault = f"{error.strerror or error} ({self.folder})"
            yield
            return
        try:
            for part in self.folder.glob(f"*{_PART}"):
                _remove(part)  # left by a process that was killed: nobody else writes now
            self.refresh()
            yield
        finally:
            lock.release()

    def _wait(
        self, lock: FileLock, progress: Progress, places: Places | None, description: str
    ) -> None:
        words = f"{description}, computed by another process"
        left = 0 if places is None else len(places.missing)
        with progress.task(total=left, description=words) as task:
            while True:
                with suppress(Timeout):
                    lock.acquire(timeout=_LOOK_S, poll_interval=0.1)
                    return
                self.refresh()
                if places is not None:
                    places.look(self.entries)
                    task.advance(left - len(places.missing))
                    left = len(places.missing)

    # ------------------------------------------------------------------ looking
    @property
    def facts(self) -> dict[str, Any]:
        """What the key stands for; empty where it is not known."""
        try:
            return dict(json.loads((self.folder / _MODEL).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    @property
    def is_mislabelled(self) -> bool:
        """Whether the folder lies under another key than that of what it says it holds."""
        facts = self.facts
        return bool(facts) and ModelKey.name_of(facts) != self.folder.name

    @property
    def days_unused(self) -> float:
        """Since a run last took something from here."""
        note = self.folder / _MODEL
        return (time.time() - note.stat().st_mtime) / 86400 if note.exists() else float("inf")

    def contents(self) -> Contents:
        """Count and check everything; nothing is taken away."""
        keys: dict[bytes, int] = {}
        size, shards, damaged = 0, 0, list[str]()
        for path in self.shards():
            size += path.stat().st_size
            found = Entries.read(path)
            if found is None:
                damaged.append(path.name)
                continue
            shards += 1
            for some in found:
                keys |= zip(some.keys, np.diff(some.ends).tolist(), strict=True)
        return Contents(len(keys), sum(keys.values()), size, shards, tuple(damaged))

    @property
    def size(self) -> int:
        """Bytes of all shards."""
        return sum(path.stat().st_size for path in self.shards())


def shelves(root: Path | None = None) -> list[Shelf]:
    """Every shelf of the store."""
    folder = root or store_folder()
    return [Shelf(path) for path in sorted(folder.glob("*")) if path.is_dir()]


def write_whole(path: Path, data: bytes) -> None:
    """Write aside, flush, rename: the file is whole or not there."""
    aside = path.with_name(f"{path.name}.{os.getpid()}{_PART}")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        _remove(aside)
        raise


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
