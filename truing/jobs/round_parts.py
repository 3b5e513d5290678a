"""Disjoint parts of a run's rows: round 1 learns from the first, round 2 from the second."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from truing.config import RunConfig
from truing.data import RowReader
from truing.data.rows import Speech
from truing.data.writing import write_records
from truing.errors import RowError
from truing.jobs.material import sources_of


def write_part(config: RunConfig, path: Path, part: int, count: int) -> int:
    """Write one part of the rows as JSON lines, as their files have them; how many.

    The prompts go round: the first to part 0, the next to part 1. All rows of a prompt are in one
    part, so no round learns from a prompt that another one has learned from.

    Args:
        config: whose `data` and `columns` are read.
        path: the file; written anew, the same each time.
        part: from 0.
        count: of the parts.

    Raises:
        RowError: malformed rows, or fewer prompts than parts.
    """
    reader = RowReader(sources_of(config), columns=config.columns or None)
    written = write_records(path, _records(reader, part, count))
    if not written:
        raise RowError(
            f"there are fewer prompts than rounds ({count})",
            where=str(config.data),
            fix="give more rows, or fewer rounds",
        )
    return written


def _records(reader: RowReader, part: int, count: int) -> Iterator[Mapping[str, Any]]:
    seen: dict[Speech, int] = {}
    for row in reader:
        if seen.setdefault(row.prompt, len(seen)) % count == part:
            yield reader.record
