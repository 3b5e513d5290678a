"""Records out of files, by what the files hold and not by what they are called."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from truing.data.where import Fault, Where
from truing.errors import RowError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".arrow", ".csv", ".tsv")
_GZIP, _PARQUET, _ARROW, _STREAM = b"\x1f\x8b", b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Record:
    """One record as the file has it: a mapping, or whatever stands in its place."""

    where: Where
    value: Any
    raw: str = ""


@dataclass
class DataFile:
    """One file (or table, or list in memory) and its records.

    Args:
        name: as messages call it.
        read: begins reading from the start; yields records and faults, raises `RowError` for a
            fault of the whole file.
        is_text_only: numbers and flags come as text (CSV).
        num_rows: about how many there are, for bars; None where that is not cheap to know.
        notes: what the user should know about how it was read.
    """

    name: str
    read: Callable[[], Iterator[Record | Fault]]
    is_text_only: bool = False
    num_rows: int | None = None
    notes: list[str] = field(default_factory=list)


def open_file(path: Path, name: str) -> DataFile:
    """A file of any of the formats, found out from its first bytes.

    Raises:
        RowError: it cannot be opened, or is an empty file.
    """
    with _wrapped(name), path.open("rb") as file:
        head = file.read(8)
    is_gzip = head.startswith(_GZIP)
    notes = []
    suffix = path.suffix.lower()
    if suffix == ".gz":
        suffix = Path(path.stem).suffix.lower()
        if not is_gzip:
            notes.append(f"{name} is not gzip, whatever its name says; it was read as it is")
    if head.startswith((_PARQUET, _ARROW, _STREAM)):
        return _table(path, name, head)

    def opener() -> IO[bytes]:
        return cast("IO[bytes]", gzip.open(path)) if is_gzip else path.open("rb")

    if suffix in {".csv", ".tsv"}:
        delimiter = "\t" if suffix == ".tsv" else ","
        return DataFile(name, lambda: _csv(opener, name, delimiter), is_text_only=True, notes=notes)
    if suffix == ".json" and _is_document(opener, name):
        return DataFile(name, lambda: _document(opener, name), notes=notes)
    size = None if is_gzip else _num_lines(path)
    return DataFile(name, lambda: _lines(opener, name), num_rows=size, notes=notes)


def in_memory(rows: Iterable[Any], name: str) -> DataFile:
    """Records that a program hands over: a list of mappings, a `datasets.Dataset`, an iterator."""
    size = len(rows) if hasattr(rows, "__len__") else None  # type: ignore[arg-type]
    is_table = hasattr(rows, "features")  # of `datasets`, which keeps Arrow tables

    def read() -> Iterator[Record]:
        for number, value in enumerate(rows, start=1):
            if is_table:
                value = {key: without_nulls(cell) for key, cell in value.items()}  # noqa: PLW2901
            yield Record(Where(name, number), value)

    return DataFile(name, read, num_rows=size)


@contextmanager
def _wrapped(name: str) -> Iterator[None]:
    """A fault of the whole file, with its name and a remedy."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RowError(
            f"the compressed file ends early or is damaged ({error})",
            where=name,
            fix="fetch it again; none of its rows is used, also not those before the fault",
        ) from error
    except OSError as error:
        raise RowError(
            f"cannot be read ({error.strerror or error})", where=name, fix="give a readable file"
        ) from error


def _lines(opener: Callable[[], IO[bytes]], name: str) -> Iterator[Record | Fault]:
    """JSON lines, split at newlines alone; blank lines count, and hold nothing."""
    is_first = True
    with _wrapped(name), opener() as file:
        for number, line in enumerate(file, start=1):
            content = line.removeprefix(_BOM) if number == 1 else line
            content = content.strip(b" \t\r\n")
            if not content:
                continue
            if is_first and content.startswith(b"[") and not content.endswith(b"]"):
                raise RowError(
                    "looks like one JSON array over several lines, not like JSON lines",
                    where=f"{name} line {number}",
                    fix="name the file .json, then it is read as an array",
                )
            is_first = False
            yield _parsed(content, Where(name, number))


def _parsed(content: bytes, where: Where) -> Record | Fault:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        return Fault(
            where,
            f"is not UTF-8: byte {error.start} of the line is {content[error.start]:#04x}",
            "save the file as UTF-8; nothing is replaced silently",
            raw=content.decode("utf-8", "backslashreplace"),
        )
    try:
        return Record(where, json.loads(text), text)
    except json.JSONDecodeError as error:
        what = f"is not valid JSON at line {where.row} column {error.pos + 1}: {error.msg}"
        return Fault(where, what, "mend this line; the others are not to blame", raw=text)
    except (ValueError, RecursionError) as error:
        what = f"is not JSON that can be read ({type(error).__name__}: {str(error)[:60]})"
        return Fault(where, what, "mend this line", raw=text)


def _is_document(opener: Callable[[], IO[bytes]], name: str) -> bool:
    """One JSON value over the whole file, and not a JSON object a line."""
    with _wrapped(name), opener() as file:
        start = b""
        while not start.strip(b" \t\r\n"):
            line = file.readline()
            if not line:
                return False
            start = line.removeprefix(_BOM)
    if start.strip().startswith(b"["):
        return True
    try:
        json.loads(start)
    except (ValueError, RecursionError):
        return True
    return False


def _document(opener: Callable[[], IO[bytes]], name: str) -> Iterator[Record | Fault]:
    with _wrapped(name), opener() as file:
        content = file.read().removeprefix(_BOM)
    try:
        value = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RowError(
            f"is not UTF-8: byte {error.start} is {content[error.start]:#04x}",
            where=name,
            fix="save the file as UTF-8; nothing is replaced silently",
        ) from error
    except json.JSONDecodeError as error:
        raise RowError(
            f"is not valid JSON: {error.msg}",
            where=f"{name} line {error.lineno} column {error.colno}",
            fix="mend the file; if it has one object a line, name it .jsonl",
        ) from error
    except (ValueError, RecursionError) as error:
        raise RowError(
            f"is not JSON that can be read ({error})", where=name, fix="mend the file"
        ) from error
    if not isinstance(value, list):
        raise RowError(
            "holds one JSON object, not an array of rows",
            where=name,
            fix="give an array of objects, or JSON lines",
        )
    for number, item in enumerate(value, start=1):
        yield Record(Where(name, number), item)


def _csv(opener: Callable[[], IO[bytes]], name: str, delimiter: str) -> Iterator[Record | Fault]:
    """Rows of text; an empty cell is an empty text. Row 1 is the first below the header."""
    with (
        _wrapped(name),
        opener() as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text,
    ):
        reader = csv.DictReader(text, delimiter=delimiter, strict=True)
        number = 0
        try:
            for number, row in enumerate(reader, start=1):
                where = Where(name, number)
                if None in row or None in row.values():
                    raw = json.dumps(row, ensure_ascii=False, default=str)
                    what = f"has not as many cells as the header ({len(reader.fieldnames or ())})"
                    yield Fault(where, what, "quote cells that hold the delimiter", raw=raw)
                else:
                    yield Record(where, row)
        except (csv.Error, UnicodeDecodeError) as error:
            raise RowError(
                f"is not CSV in UTF-8 after row {number} ({error})",
                where=name,
                fix="save it as UTF-8 with quotes around cells that hold the delimiter",
            ) from error


def _table(path: Path, name: str, head: bytes) -> DataFile:
    """Parquet or Arrow, a batch at a time."""
    import pyarrow as pa
    from pyarrow import ipc, parquet

    def batches() -> Iterator[Any]:
        if head.startswith(_PARQUET):
            yield from parquet.ParquetFile(path).iter_batches(batch_size=1024)
            return
        with pa.memory_map(str(path)) as source:
            if head.startswith(_ARROW):
                reader = ipc.open_file(source)
                yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
            else:
                yield from ipc.open_stream(source)

    def read() -> Iterator[Record]:
        number = 0
        try:
            for batch in batches():
                nested = {f.name for f in batch.schema if pa.types.is_nested(f.type)}
                for value in batch.to_pylist():
                    number += 1
                    pruned = {key: without_nulls(value[key]) for key in nested}
                    yield Record(Where(name, number), value | pruned)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise RowError(
                f"cannot be read as a table after row {number} ({str(error)[:200]})",
                where=name,
                fix="write the file again; none of its rows is used",
            ) from error

    size = _num_rows(path) if head.startswith(_PARQUET) else None
    return DataFile(name, read, num_rows=size)


def _num_lines(path: Path) -> int | None:
    """How many lines a file has; reading them takes a hundred times as long as counting them."""
    count, last = 0, b"\n"
    try:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(2**20), b""):
                count, last = count + block.count(b"\n"), block[-1:]
    except OSError:
        return None
    return count + (last != b"\n")


def without_nulls(value: Any) -> Any:
    """A cell of a table, without the null fields of structures inside it.

    A table gives every structure of a column the same fields, so what one tool call says is null
    in all others; it was never there.
    """
    if isinstance(value, dict):
        return {key: without_nulls(cell) for key, cell in value.items() if cell is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def _num_rows(path: Path) -> int | None:
    """From the footer of a Parquet file; None where it is damaged (reading says so)."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.read_metadata(path).num_rows
    except (pa.ArrowException, OSError):
        return None
