"""Shards on disk: Parquet files named by what they were made from and by what they hold.

A shard is whole or not there: it is written aside, flushed, and renamed to
`NUMBER.KEY.CONTENT.parquet`. KEY hashes everything that its rows depend on, so a finished shard is
found again; CONTENT hashes the file, so a damaged one is found out and made anew.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

_ASIDE = ".writing"


@dataclass(frozen=True)
class ShardFolder:
    """A folder of shards."""

    path: Path

    def find(self, number: int, key: str) -> Path | None:
        """The whole shard of this number and key; None where there is none."""
        for file in sorted(self.path.glob(f"{number:05d}.{key}.*.parquet")):
            if content_hash(file) == file.name.split(".")[2]:
                return file
            file.unlink()
        return None

    def write(self, number: int, key: str, table: pa.Table) -> Path:
        """Put a shard down; on disk under its name when this returns."""
        self.path.mkdir(parents=True, exist_ok=True)
        aside = self.path / f".{number:05d}.{key}.{os.getpid()}{_ASIDE}"
        write_table(table, aside)
        target = self.path / f"{number:05d}.{key}.{content_hash(aside)}.parquet"
        aside.replace(target)
        return target

    def sweep(self) -> None:
        """Remove what killed processes left half written."""
        for file in self.path.glob(f".*{_ASIDE}"):
            file.unlink(missing_ok=True)

    def keep_only(self, keys: Mapping[int, str]) -> None:
        """Remove shards of other keys."""
        for file in self.path.glob("*.parquet"):
            number, key = file.name.split(".")[:2]
            if keys.get(int(number)) != key:
                file.unlink()


def write_table(table: pa.Table, path: Path) -> None:
    """The same bytes for the same rows, flushed."""
    with path.open("wb") as file:
        parquet.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())


def content_hash(path: Path) -> str:
    """Sixteen hexadecimal digits of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()[:16]


def combined_key(*parts: str) -> str:
    """Sixteen hexadecimal digits of some texts, in order."""
    digest = sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()[:16]
