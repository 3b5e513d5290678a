"""Many examples in a few flat arrays, on disk where they would fill the memory."""

import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO, overload

import numpy as np
from numpy.typing import NDArray

from truing.data.cache import cache_folder
from truing.data.examples import Example
from truing.data.where import Where

# Token ids beyond this number lie in a file that is mapped into memory (256 MiB of int32).
_IN_MEMORY = 64 * 2**20


class ExampleTable(Sequence[Example]):
    """A sequence of examples that are made anew at each access; the ids are shared, not copied."""

    def __init__(self, columns: "_Columns") -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns.row_ids)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        """One example, or a tuple of some."""
        if isinstance(index, slice):
            return tuple(self._columns.example(i) for i in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._columns.example(index % len(self))

    def __iter__(self) -> Iterator[Example]:
        return (self._columns.example(i) for i in range(len(self)))

    @property
    def row_ids(self) -> NDArray[np.int64]:
        """Of all rows, in order, (rows,)."""
        return self._columns.row_ids


class _Columns:
    """The flat arrays; `starts` say where the entries of each row begin, and the last one ends."""

    def __init__(self, collector: "Collector") -> None:
        self.ids = collector.all_ids()
        # Speeches: the prompt of a row, then its responses.
        self.speech_starts = _starts(collector.lengths)
        self.row_starts = _starts(collector.num_speeches)
        self.pairs = np.array(collector.pairs, dtype=np.int32).reshape(-1, 2)
        self.pair_starts = _starts(collector.num_pairs)
        self.row_ids = np.array(collector.row_ids, dtype=np.int64)
        self.files = tuple(collector.files)
        self.file = np.array(collector.file, dtype=np.int32)
        self.number = np.array(collector.number, dtype=np.int64)
        # One value a response; NaN or -1 where the row says nothing.
        self.scores = np.array(collector.scores, dtype=np.float64)
        self.wins = np.array(collector.wins, dtype=np.float64)
        self.labels = np.array(collector.labels, dtype=np.int8)
        self.cut = np.array(collector.cut, dtype=np.bool_)
        # Of the few rows whose responses hold turns of others.
        self.learned = collector.learned

    def example(self, index: int) -> Example:
        first, last = self.row_starts[index], self.row_starts[index + 1]
        bounds = self.speech_starts[first : last + 1].tolist()
        speeches = [self.ids[a:b] for a, b in pairwise(bounds)]
        # A row before this one has one speech more than it has responses.
        responses = slice(int(first) - index, int(last) - index - 1)
        pairs = self.pairs[self.pair_starts[index] : self.pair_starts[index + 1]]
        labels = self.labels[responses]
        return Example(
            prompt=speeches[0],
            responses=tuple(speeches[1:]),
            pairs=tuple((int(a), int(b)) for a, b in pairs),
            row_id=int(self.row_ids[index]),
            where=Where(self.files[self.file[index]], int(self.number[index])),
            scores=_values(self.scores[responses]),
            labels=None if labels[0] < 0 else tuple(labels.astype(bool).tolist()),
            win_probability=_values(self.wins[responses]),
            cut=tuple(self.cut[responses].tolist()),
            learned=self.learned.get(index),
        )


def _starts(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.array(lengths, dtype=np.int64))])


def _values(values: NDArray[np.float64]) -> tuple[float, ...] | None:
    return None if np.isnan(values[0]) else tuple(values.tolist())


class Collector:
    """Takes examples one by one, in order; `table` ends it."""

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        self._in_memory, self._waiting = in_memory, 0
        self._parts: list[np.ndarray] = []
        self._file: IO[bytes] | None = None
        self.lengths: list[int] = []
        self.num_speeches: list[int] = []
        self.pairs: list[tuple[int, int]] = []
        self.num_pairs: list[int] = []
        self.row_ids: list[int] = []
        self.files: dict[str, int] = {}
        self.file: list[int] = []
        self.number: list[int] = []
        self.scores: list[float] = []
        self.wins: list[float] = []
        self.labels: list[int] = []
        self.cut: list[bool] = []
        self.learned: dict[int, tuple[NDArray[np.bool_], ...]] = {}

    def add(self, example: Example) -> None:
        """One more example."""
        speeches = (example.prompt, *example.responses)
        self._parts += speeches
        self._waiting += example.num_tokens
        self.lengths += map(len, speeches)
        self.num_speeches.append(len(speeches))
        self.pairs += example.pairs
        self.num_pairs.append(len(example.pairs))
        if example.learned is not None:
            self.learned[len(self.row_ids)] = example.learned
        self.row_ids.append(example.row_id)
        self.file.append(self.files.setdefault(example.where.file, len(self.files)))
        self.number.append(example.where.row)
        count = len(example.responses)
        self.scores += example.scores or [np.nan] * count
        self.wins += example.win_probability or [np.nan] * count
        self.labels += [-1] * count if example.labels is None else map(int, example.labels)
        self.cut += example.cut or [False] * count
        if self._waiting > self._in_memory:
            self._write()

    def _write(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=_room())  # noqa: SIM115
        self._file.write(np.concatenate(self._parts).tobytes())
        self._parts, self._waiting = [], 0

    def all_ids(self) -> NDArray[np.int32]:
        """Token ids of everything, one after the other; writable, as torch wants to see them."""
        if self._file is None:
            return np.concatenate(self._parts) if self._parts else np.zeros(0, dtype=np.int32)
        if self._parts:
            self._write()
        self._file.flush()
        # The file has no name any more; the map keeps it, and it goes with the process.
        ids = np.asarray(np.memmap(self._file, dtype=np.int32, mode="r+"))
        self._file.close()
        return ids

    def table(self) -> ExampleTable:
        """All examples that were added."""
        return ExampleTable(_Columns(self))


def _room() -> Path | None:
    """Where a large file may lie; None: wherever the system keeps temporary files."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder
