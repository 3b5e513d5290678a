"""A large data set that was prepared once: found again by the contents of its files.

    prepared/<key>/about.json     its summary, and the checksum of each array
                   <column>.npy   the arrays of the table; the token ids are mapped, not read

The key is made of everything that the examples depend on: the bytes of the files and what the user
calls them, the tokenizer, the limit and its policy, what the objective asks of the rows.
"""

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from truing.core.needs import Needs
from truing.data.cache import FORMAT, cache_folder, content_hash
from truing.data.sources import Data, Source
from truing.data.summary import DataSummary, Tally
from truing.data.table import COLUMNS, ExampleTable
from truing.data.where import Where

# What the arrays and their making are; another number finds nothing that was made before.
_FORMAT = 1
# Below so many bytes of files it is quicker to prepare them than worth the room on the disk.
WORTHWHILE = 64 * 2**20
_ABOUT = "about.json"
# What the data room reads of the needs; runs that differ in the rest share their rows.
_READ = ("scores", "labels", "win_probability", "auxiliary", "responses")


def place_of(
    source: Data, tokenizer_key: bytes | None, needs: Needs, settings: Mapping[str, Any]
) -> Path | None:
    """Where the examples lie or would lie; None for data that is not kept.

    Kept are large local files alone, and tokenizers whose ids are known to depend on nothing else.

    Args:
        source: of the rows.
        tokenizer_key: of tokenizer, template and end token; None where it is not known.
        needs: of the objective.
        settings: everything else that the examples depend on, as plain values.
    """
    files = _files(source)
    if tokenizer_key is None or not files:
        return None
    try:
        if sum(path.stat().st_size for _, path, _ in files) < WORTHWHILE:
            return None
        hashes = [(name, weight, content_hash(path)) for name, path, weight in files]
    except OSError:
        return None  # reading the rows will say what is wrong
    wanted = {name: getattr(needs, name) for name in _READ}
    plain = {n: sorted(v) if isinstance(v, frozenset) else v for n, v in wanted.items()}
    made_by = [_FORMAT, FORMAT.decode(), version("truing"), tokenizer_key.hex()]
    parts = [*made_by, hashes, plain, dict(settings)]
    text = json.dumps(parts, sort_keys=True)
    key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return cache_folder() / "prepared" / key


def _files(source: Data) -> list[tuple[str, Path, float]]:
    """Name, path and weight of each file; [] where some of the data is anything else."""
    if isinstance(source, str | Path):
        source = Source(source)
    if isinstance(source, Source):
        path = Path(source.path).expanduser()
        if path.is_file():
            return [(str(source.path), path, source.weight)]
        below = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else []
        name = Path(source.path)
        return [(str(name / one.relative_to(path)), one, source.weight) for one in below]
    if not isinstance(source, Sequence) or not source:
        return []
    if not all(isinstance(one, str | Path | Source) for one in source):
        return []
    found = [_files(one) for one in source]
    return [file for files in found for file in files] if all(found) else []


def load(place: Path) -> tuple[ExampleTable, DataSummary] | None:
    """What lies there; None where nothing does, or what does is damaged and then taken away."""
    try:
        about = json.loads(_checked(place / _ABOUT))
        arrays = {name: _array(place / f"{name}.npy", about["sums"][name]) for name in COLUMNS}
        return ExampleTable.of_arrays(arrays, about["files"]), _summary(about["summary"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        shutil.rmtree(place, ignore_errors=True)
        return None


def keep(
    place: Path, table: ExampleTable, summary: DataSummary
) -> tuple[ExampleTable, DataSummary]:
    """What was made, from now on mapped from its own file: runs share that memory.

    It is written aside and renamed; a folder that cannot be written is no fault.
    """
    _save(place, table, summary)
    return load(place) or (table, summary)


def _save(place: Path, table: ExampleTable, summary: DataSummary) -> None:
    aside = place.with_name(f"{place.name}.{os.getpid()}.part")
    arrays, files = table.to_arrays()
    try:
        aside.mkdir(parents=True)
        sums = {}
        for name, array in arrays.items():
            np.save(aside / f"{name}.npy", array, allow_pickle=False)
            sums[name] = _checksum(aside / f"{name}.npy")
        about = {"files": files, "sums": sums, "summary": _plain(summary)}
        text = json.dumps(about)
        (aside / _ABOUT).write_text(f"{text}\n{_sum_of(text)}", encoding="utf-8")
        aside.rename(place)
    except OSError:
        # No room, or another process was first.
        with suppress(OSError):
            shutil.rmtree(aside)


def _checked(path: Path) -> str:
    text, _, checksum = path.read_text(encoding="utf-8").rpartition("\n")
    if _sum_of(text) != checksum:
        raise ValueError("damaged")
    return text


def _sum_of(text: str) -> str:
    return xxhash.xxh3_128_hexdigest(text.encode())


def _array(path: Path, checksum: str) -> np.ndarray:
    if _checksum(path) != checksum:
        raise ValueError("damaged")
    if path.stem != "ids":
        return np.load(path, allow_pickle=False)
    # Copied on write: torch wants to see arrays that can be written, nobody writes them.
    return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()  # type: ignore[arg-type]


def _plain(summary: DataSummary) -> dict[str, Any]:
    values = {field.name: getattr(summary, field.name) for field in dataclasses.fields(summary)}
    plain = {
        name: _tally(value) if isinstance(value, Tally) else value for name, value in values.items()
    }
    plain["left_out"] = {word: _tally(tally) for word, tally in summary.left_out.items()}
    plain["kinds"], plain["layouts"] = dict(summary.kinds), dict(summary.layouts)
    return plain


def _tally(tally: Tally) -> dict[str, Any]:
    places = [[place.file, place.row] for place in tally.places]
    return {"count": tally.count, "places": places, "details": list(tally.details)}


def _summary(plain: Mapping[str, Any]) -> DataSummary:
    values = dict(plain)
    for field in dataclasses.fields(DataSummary):
        if isinstance(field.default, Tally):
            values[field.name] = _as_tally(values[field.name])
    values["left_out"] = {word: _as_tally(one) for word, one in values["left_out"].items()}
    values["notes"] = tuple(values["notes"])
    return DataSummary(**values)


def _as_tally(plain: Mapping[str, Any]) -> Tally:
    places = tuple(Where(str(file), int(row)) for file, row in plain["places"])
    return Tally(int(plain["count"]), places, tuple(plain["details"]))
