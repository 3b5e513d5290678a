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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from filelock import FileLock, Timeout

from truing.core.progress import Progress
from truing.data.cache import cache_folder
from truing.errors import StoreError
from truing.references.keys import ModelKey

_SCHEMA = pa.schema([("key", pa.binary(16)), ("logps", pa.list_(pa.float32()))])
_MODEL, _LOCK, _SHARD, _PART = "model.json", "lock", ".arrow", ".part"
# Bytes of a response beside its log-probs: its key and where they end.
ROW_BYTES, TOKEN_BYTES = 20, 4


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
        self._known: dict[bytes, np.ndarray] = {}
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
    def refresh(self) -> None:
        """Read shards that were not there before; a damaged one is taken away."""
        for path in self.shards():
            if path.name in self._read:
                continue
            table = _whole_table(path)
            if table is None:
                self.damaged.append(path.name)
                _remove(path)
                continue
            self._read.add(path.name)
            self._known.update(_entries(table))

    def shards(self) -> list[Path]:
        """Files of whole shards, in order of name."""
        return sorted(self.folder.glob(f"*{_SHARD}"))

    def get(self, key: bytes, length: int) -> np.ndarray | None:
        """The log-probs under a key, (length,) float32; None where there are none."""
        found = self._known.get(key)
        return None if found is None or len(found) != length else found

    def forget(self) -> None:
        """Take away everything that lies here."""
        for path in self.shards():
            _remove(path)
        self._known.clear()
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
        self._known.update(zip(keys, values, strict=True))
        data = _as_bytes(keys, values)
        name = xxhash.xxh3_128_hexdigest(data) + _SHARD
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

    def describe(self, key: ModelKey, path: str) -> None:
        """Note what the key stands for, and that it is used now."""
        note = self.folder / _MODEL
        text = json.dumps({**asdict(key), "model": path}, indent=2)
        try:
            if not note.exists():
                self.folder.mkdir(parents=True, exist_ok=True)
                write_whole(note, text.encode())
            os.utime(note)
        except OSError as error:
            self.fault = f"{error.strerror or error} ({self.folder})"

    @contextmanager
    def held(self, progress: Progress) -> Iterator[None]:
        """Hold the shelf while something is computed for it; wait for another process that does.

        What the other one stored is read before the block begins.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / _LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                progress.note("another process computes this reference; waiting for it")
                lock.acquire(poll_interval=0.1)
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

    # ------------------------------------------------------------------ looking
    @property
    def facts(self) -> dict[str, Any]:
        """What the key stands for; empty where it is not known."""
        try:
            return dict(json.loads((self.folder / _MODEL).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

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
            table = _whole_table(path)
            if table is None:
                damaged.append(path.name)
                continue
            shards += 1
            keys |= {key: len(values) for key, values in _entries(table)}
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


def _as_bytes(keys: Sequence[bytes], values: Sequence[np.ndarray]) -> bytes:
    ends = np.cumsum([0, *map(len, values)], dtype=np.int64)
    flat = np.concatenate(values).astype(np.float32, copy=False)
    table = pa.table(
        [
            pa.array(list(keys), type=pa.binary(16)),
            pa.ListArray.from_arrays(pa.array(ends, type=pa.int32()), pa.array(flat)),
        ],
        schema=_SCHEMA,
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _SCHEMA) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _whole_table(path: Path) -> pa.Table | None:
    """A shard mapped into memory; None where it is not what its name says."""
    try:
        with pa.memory_map(str(path)) as source:
            data = source.read_buffer()
    except (OSError, pa.ArrowInvalid):
        return None
    if xxhash.xxh3_128_hexdigest(memoryview(data)) != path.name.removesuffix(_SHARD):
        return None
    return pa.ipc.open_file(data).read_all()


def _entries(table: pa.Table) -> Iterator[tuple[bytes, np.ndarray]]:
    for batch in table.to_batches():
        ends = batch["logps"].offsets.to_numpy()
        flat = batch["logps"].values.to_numpy()
        for number, key in enumerate(batch["key"].to_pylist()):
            yield key, flat[ends[number] : ends[number + 1]]


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
