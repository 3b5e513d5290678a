"""Rows out of data of any layout, with every malformed one named."""

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from truing.data.cells import Cells, type_name
from truing.data.files import DataFile, Record
from truing.data.layouts import AUXILIARY_LAYOUTS, LAYOUTS, Layout, find_layout, known_columns
from truing.data.rows import Row
from truing.data.sources import Data, open_sources
from truing.data.where import CellError, Fault, refusal
from truing.errors import ConfigError, RowError

# So many records of a file are looked at before its layout is decided.
_PEEKED = 64
# Columns that a single row may lack although its file has them.
_FREE = {"input", "system", "tools", "margin", "win_probability_rejected", "score", "label"}
_UINT64 = 2**64


def read_rows(
    data: Data, *, columns: Mapping[str, str] | None = None, is_auxiliary: bool = False
) -> Iterator[Row]:
    """The rows of some data, one after the other; nothing is held in memory.

    Args:
        data: a file, a folder, a `datasets` name, a list of these (`Source` gives a weight), or an
            iterable of mappings.
        columns: our column name -> the name in the file.
        is_auxiliary: also read text without a preference (`text`, or `prompt` and `completion`).

    Raises:
        RowError: malformed rows; all of a file are counted, the first five shown. No row at all.
        ConfigError: `columns` names a column that no layout has.
    """
    return iter(RowReader(data, columns=columns, is_auxiliary=is_auxiliary))


@dataclass
class RowReader:
    """Reads data once and remembers what was met on the way.

    Args:
        data: see `read_rows`.
        columns: see `read_rows`.
        is_auxiliary: see `read_rows`.
        skips_bad: malformed rows are kept in `faults` and not raised.
        offers_skip: where they are raised, the command's `--skip-bad` is named as a remedy.
        faults: malformed rows met so far.
        notes: what the user should know about the files.
        layouts: the layout of each file.
        record: the row that was given last, as its file has it.
        num_read: records met so far, malformed ones included.
        num_rows: how many there are, where that is known before reading.
    """

    data: Data
    columns: Mapping[str, str] | None = None
    is_auxiliary: bool = False
    skips_bad: bool = False
    offers_skip: bool = False
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    layouts: dict[str, str] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    num_read: int = 0
    num_rows: int | None = None
    _seen: Counter[int] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[Row]:
        """See `read_rows`."""
        self._check_columns()
        files = list(open_sources(self.data))
        sizes = [file.num_rows for file, _ in files]
        known = [size for size in sizes if size is not None]
        self.num_rows = sum(known) if len(known) == len(sizes) else None
        for file, weight in files:
            for row in self._weighted(file, weight):
                occurrence = self._seen[row.id]
                self._seen[row.id] += 1
                yield replace(row, occurrence=occurrence) if occurrence else row
            self.notes += [note for note in file.notes if note not in self.notes]
        if not self.num_read and not self.faults:
            names = ", ".join(file.name for file, _ in files) or "data"
            raise RowError(
                "there are no rows in the file", where=names, fix="give a file with rows"
            )

    @property
    def num_duplicates(self) -> int:
        """Rows that say the same as one before them (scores aside)."""
        return sum(count - 1 for count in self._seen.values())

    def _check_columns(self) -> None:
        for ours in self.columns or {}:
            if ours not in known_columns():
                near = difflib.get_close_matches(ours, known_columns(), 1)
                hint = f"did you mean `{near[0]}`? " if near else ""
                raise ConfigError(
                    f"`{ours}` is no column that Truing reads",
                    where="columns",
                    fix=f"{hint}columns maps our name to yours: {{chosen: preferred}}",
                )

    def _weighted(self, file: DataFile, weight: float) -> Iterator[Row]:
        whole, part = int(weight), weight - int(weight)
        for _ in range(whole):
            yield from self._file(file)
        if part:
            for row in self._file(file):
                if (row.id * 0x9E3779B97F4A7C15 % _UINT64) / _UINT64 < part:
                    yield row

    def _file(self, file: DataFile) -> Iterator[Row]:
        before, before_read = len(self.faults), self.num_read
        records = file.read()
        peeked = list(islice(records, _PEEKED))
        parse = self._parser(file, peeked)
        first: Row | None = None
        for item in chain(peeked, records):
            row = parse(item)
            if isinstance(row, Row) and first is not None:
                row = _same_kind(row, first)
            self.num_read += 1
            if isinstance(row, Fault):
                self.faults.append(row)
                continue
            first = first or row
            if isinstance(item, Record) and isinstance(item.value, Mapping):
                self.record = item.value
            if self.skips_bad or len(self.faults) == before:
                yield row
        if len(self.faults) > before and not self.skips_bad:
            raise refusal(self.faults[before:], offers_skip=self.offers_skip)
        if self.num_read == before_read:
            raise RowError(
                "there are no rows in the file", where=file.name, fix="give a file with rows"
            )

    def _parser(self, file: DataFile, peeked: Sequence[Record | Fault]) -> Any:
        """A function from a record of this file to its row or fault."""
        mapping = self.columns or {}
        values = [item.value for item in peeked if isinstance(item, Record)]
        objects = [value for value in values if isinstance(value, Mapping)]
        columns = list(dict.fromkeys(key for value in objects for key in value))
        # A table names a column in every row; where it is null throughout, it is not there.
        filled = {key for value in objects for key, cell in value.items() if cell is not None}
        void = {column for column in columns if column not in filled}
        there = [column for column in columns if column in filled]
        layout = self._layout(file, there) if objects else LAYOUTS[0]
        self.layouts[file.name] = layout.name
        own = (*layout.needs, *layout.may)
        must = [
            column for column in own if column not in _FREE and mapping.get(column, column) in there
        ]

        def parse(item: Record | Fault) -> Row | Fault:
            if isinstance(item, Fault):
                return item
            try:
                if not isinstance(item.value, Mapping):
                    raise CellError(
                        f"is {type_name(item.value)}; an object with columns is wanted",
                        fix="write each row as {...} with the columns of the file",
                    )
                record = {
                    key: cell
                    for key, cell in item.value.items()
                    if cell is not None or key not in void
                }
                cells = Cells(record, mapping, is_text_only=file.is_text_only)
                for column in must:
                    cells.value(column)
                return layout.read(cells, item.where)
            except CellError as bad:
                return bad.at(item.where, item.raw or str(item.value))

        return parse

    def _layout(self, file: DataFile, columns: Sequence[str]) -> Layout:
        mapping = self.columns or {}
        layouts = (*LAYOUTS, *(AUXILIARY_LAYOUTS if self.is_auxiliary else ()))
        for ours, theirs in mapping.items():
            is_column = any(ours in (*layout.needs, *layout.may) for layout in layouts)
            if is_column and theirs not in columns:
                raise RowError(
                    f"has no column `{theirs}`, which `columns` maps to `{ours}`; the columns "
                    f"are {', '.join(columns)}",
                    where=file.name,
                    fix="mend the mapping",
                )
        found = find_layout(columns, mapping, layouts)
        if found is None:
            raise _no_layout(file.name, columns, mapping, layouts)
        return found


def _same_kind(row: Row, first: Row) -> Row | Fault:
    if row.is_conversational == first.is_conversational:
        return row
    kinds = {True: "conversational", False: "plain"}
    what = (
        f"is {kinds[row.is_conversational]}, row {first.where.row} was "
        f"{kinds[first.is_conversational]}; one file, one kind"
    )
    return Fault(row.where, what, "put the rows of the two kinds into two files")


def _no_layout(
    name: str, columns: Sequence[str], mapping: Mapping[str, str], layouts: Sequence[Layout]
) -> RowError:
    """Says which column is missing from the layout that the file is nearest to."""

    def nearest(column: str) -> str | None:
        close = difflib.get_close_matches(column, columns, 1, cutoff=0.75)
        return close[0] if close else None

    def likeness(layout: Layout) -> float:
        names = [mapping.get(column, column) for column in layout.needs]
        found = [1.0 if n in columns else 0.9 if nearest(n) else 0.0 for n in names]
        return sum(found) / len(found)

    best = max(layouts, key=likeness)
    there = ", ".join(map(str, columns)) or "none"
    missing = [column for column in best.needs if mapping.get(column, column) not in columns]
    if likeness(best) == 0 or not columns:
        missing = ["chosen", "rejected"]
    words = " and ".join(f"`{column}`" for column in missing)
    is_one = len(missing) == 1
    hints = [f"`{nearest(c)}` looks like `{c}`" for c in missing if nearest(c)]
    hint = f"{'; '.join(hints)}: rename it, or" if hints else "rename the columns, or"
    example = nearest(missing[0]) or "YOURS"
    return RowError(
        f"the column{'' if is_one else 's'} {words} {'is' if is_one else 'are'} missing; "
        f"the columns found are {there}",
        where=name,
        fix=f"{hint} map them: columns: {{{missing[0]}: {example}}}",
    )
