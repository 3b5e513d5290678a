"""Where a row came from, and what is wrong with it: the two halves of every message on data."""

from collections.abc import Sequence
from dataclasses import dataclass

from truing.errors import RowError

# So many faults of a run of rows are shown in full; the rest is a number.
SHOWN = 5


@dataclass(frozen=True, order=True, slots=True)
class Where:
    """A file as the user named it, and the row in it, counted from 1 (JSON lines: the line)."""

    file: str
    row: int

    def __str__(self) -> str:
        return f"{self.file} row {self.row}"


@dataclass(frozen=True)
class Fault:
    """One malformed row: what is wrong, in which column, how to mend it, and the row itself.

    Args:
        where: the row.
        what: one sentence without a full stop.
        fix: the remedy.
        column: the column that holds the fault; "" for the whole row.
        raw: the row as it was found, for the file of rejected rows.
    """

    where: Where
    what: str
    fix: str
    column: str = ""
    raw: str = ""

    @property
    def place(self) -> str:
        """File, row and column in words."""
        return f"{self.where}, column `{self.column}`" if self.column else str(self.where)


class CellError(Exception):
    """A cell that cannot be read; becomes a `Fault` as soon as its row is known."""

    def __init__(self, what: str, *, fix: str, column: str = "") -> None:
        self.what, self.fix, self.column = what, fix, column
        super().__init__(what)

    def at(self, where: Where, raw: str) -> Fault:
        """The fault of a row."""
        return Fault(where, self.what, self.fix, self.column, raw)


def refusal(faults: Sequence[Fault], *, offers_skip: bool = False) -> RowError:
    """One error for all malformed rows: the first few in full, the count of the rest.

    Args:
        faults: one at least.
        offers_skip: the command has `--skip-bad`, which is then named as a remedy.
    """
    first = faults[0]
    if len(faults) == 1:
        more = "; or --skip-bad FILE writes the row out and goes on with the others"
        return RowError(
            first.what, where=first.place, fix=first.fix + (more if offers_skip else "")
        )
    lines = [f"{fault.place}: {fault.what}" for fault in faults[1:SHOWN]]
    if len(faults) > SHOWN:
        lines.append(f"and {len(faults) - SHOWN} more rows")
    fixes = list(dict.fromkeys(fault.fix for fault in faults[:SHOWN] if fault.fix))
    if offers_skip:
        fixes.append("or --skip-bad FILE writes such rows out and goes on with the others")
    return RowError("\n".join([first.what, *lines]), where=first.place, fix="\n       ".join(fixes))


def named(places: Sequence[Where]) -> str:
    """`train.jsonl rows 2, 7 and 11`: a few places in words, the rest as a number."""
    files: dict[str, list[int]] = {}
    for place in places[:SHOWN]:
        files.setdefault(place.file, []).append(place.row)
    texts = [
        f"{file} row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows))}"
        for file, rows in files.items()
    ]
    rest = len(places) - SHOWN
    return "; ".join(texts) + (f" and {rest} more" if rest > 0 else "")
