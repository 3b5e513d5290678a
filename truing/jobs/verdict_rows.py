"""Rows of files that hold a judge's verdicts: read one by one, every fault with its place."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from truing.data.files import Record
from truing.data.sources import open_sources
from truing.data.where import refusal
from truing.errors import RowError

Rows = Sequence[tuple[str, Mapping[str, Any]]]
"""Where each row stands, and its columns."""


def records(path: Path, form: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of a file.

    Args:
        path: a file of any format that rows are read from.
        form: what a row looks like, for the remedy.

    Raises:
        RowError: a row that is no object, or no row.
    """
    any_row = False
    for file, _ in open_sources(path):
        for record in file.read():
            if not isinstance(record, Record):
                raise refusal([record])
            if not isinstance(record.value, Mapping):
                raise RowError("is no object with columns", where=str(record.where), fix=form)
            any_row = True
            yield str(record.where), record.value
    if not any_row:
        raise RowError("holds no row", where=str(path), fix=form)


def has_column(rows: Rows, name: str, form: str) -> bool:
    """Whether the rows have a column.

    Raises:
        RowError: only some of them have it.
    """
    given = [name in row for _, row in rows]
    if any(given) and not all(given):
        where = rows[given.index(False)][0]
        raise RowError(f"has no `{name}`, which other rows have", where=where, fix=form)
    return all(given)


def finite(row: Mapping[str, Any], name: str, where: str, form: str) -> float:
    """A number out of a column.

    Raises:
        RowError: it is not there, or no number.
    """
    try:
        value = float(row[name])
    except (KeyError, TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise RowError(f"`{name}` is {row.get(name)!r}, which is no number", where=where, fix=form)
    return value
