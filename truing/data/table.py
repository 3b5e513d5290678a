"""Many examples in a few flat arrays, on disk where they would fill the memory."""

import tempfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, overload

import numpy as np
from numpy.typing import NDArray

from truing.data.cache import cache_folder
from truing.data.examples import Example, Ids
from truing.data.where import Where

# Token ids beyond this number lie in a file that is mapped into memory (256 MiB of int32).
_IN_MEMORY = 64 * 2**20
Masks = tuple[NDArray[np.bool_], ...]
# Arrays of a table, by name.
COLUMNS = (
    "ids", "speech_starts", "row_starts", "pairs", "pair_starts", "row_ids", "file", "number",
    "scores", "wins", "labels", "cut", "learned_rows", "learned_ends", "learned",
)  # fmt: skip


class ExampleTable(Sequence[Example]):
    """A sequence of examples that are made anew at each access; the ids are shared, not copied."""

    def __init__(self, columns: "_Columns") -> None:
        self._columns = columns

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray], files: Sequence[str]) -> "ExampleTable":
        """A table of what `to_arrays` gave."""
        learned = _unpacked(arrays["learned_rows"], arrays["learned_ends"], arrays["learned"])
        flat = {name: arrays[name] for name in COLUMNS if not name.startswith("learned")}
        return cls(_Columns(**flat, files=tuple(files), learned=learned))

    def to_arrays(self) -> tuple[dict[str, np.ndarray], list[str]]:
        """All of it as arrays by the names of `COLUMNS`, and the files' names."""
        columns = self._columns
        flat = {n: getattr(columns, n) for n in COLUMNS if not n.startswith("learned")}
        return flat | _packed(columns.learned), list(columns.files)

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

    def speeches(self) -> Iterator[tuple[Ids, list[Ids]]]:
        """Prompt and responses of each row, and nothing else of it: many times faster."""
        columns = self._columns
        rows, bounds = columns.row_starts.tolist(), columns.speech_starts
        for first, last in pairwise(rows):
            prompt, *responses = (
                columns.ids[a:b] for a, b in pairwise(bounds[first : last + 1].tolist())
            )
            yield prompt, responses

    @property
    def widths(self) -> NDArray[np.int64]:
        """Tokens of each row's prompt and longest response, (rows,)."""
        columns = self._columns
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        lengths, starts = np.diff(columns.speech_starts), columns.row_starts[:-1]
        prompts, lengths[starts] = lengths[starts], 0
        return prompts + np.maximum.reduceat(lengths, starts)

    def over(self, tokens: int) -> NDArray[np.int64]:
        """Rows that would take more tokens, were all responses as long as the longest."""
        return np.flatnonzero((np.diff(self._columns.row_starts) - 1) * self.widths > tokens)


def widest(examples: Sequence[Example]) -> list[Example]:
    """The example with the longest sequence, prompt and response; [] of none."""
    if not examples:
        return []
    if isinstance(examples, ExampleTable):
        widths = examples.widths
    else:
        widths = [len(one.prompt) + max(map(len, one.responses)) for one in examples]
    return [examples[int(np.argmax(widths))]]


@dataclass(frozen=True, eq=False)
class _Columns:
    """The flat arrays; `starts` say where the entries of each row begin, and the last one ends.

    Speeches are the prompt of a row, then its responses. `scores`, `wins`, `labels` and `cut` have
    one value a response, NaN or -1 where the row says nothing; `learned` is of the few rows whose
    responses hold turns of others.
    """

    ids: NDArray[np.int32]
    speech_starts: NDArray[np.int64]
    row_starts: NDArray[np.int64]
    pairs: NDArray[np.int32]
    pair_starts: NDArray[np.int64]
    row_ids: NDArray[np.int64]
    file: NDArray[np.int32]
    number: NDArray[np.int64]
    scores: NDArray[np.float64]
    wins: NDArray[np.float64]
    labels: NDArray[np.int8]
    cut: NDArray[np.bool_]
    files: tuple[str, ...]
    learned: Mapping[int, Masks]

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


def _packed(learned: Mapping[int, Masks]) -> dict[str, np.ndarray]:
    """Masks one after the other; of each its row, and where it ends behind a 0."""
    masks = [mask for of_row in learned.values() for mask in of_row]
    rows = [row for row, of_row in learned.items() for _ in of_row]
    return {
        "learned_rows": np.array(rows, dtype=np.int64),
        "learned_ends": _starts([len(mask) for mask in masks]),
        "learned": np.concatenate([np.zeros(0, dtype=np.bool_), *masks]),
    }


def _unpacked(rows: np.ndarray, ends: np.ndarray, flat: np.ndarray) -> dict[int, Masks]:
    found: dict[int, Masks] = {}
    for row, (first, last) in zip(rows.tolist(), pairwise(ends.tolist()), strict=True):
        found[row] = (*found.get(row, ()), flat[first:last])
    return found


def _values(values: NDArray[np.float64]) -> tuple[float, ...] | None:
    return None if np.isnan(values[0]) else tuple(values.tolist())


class Collector:
    """Takes examples one by one, in order; `table` ends it."""

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        self._in_memory, self._waiting = in_memory, 0
        self._parts: list[np.ndarray] = []
        self._file: IO[bytes] | None = None
        # Of very many rows lists of Python's own numbers would take ten times as much.
        self.lengths = array("q")
        self.num_speeches = array("q")
        self.pairs = array("i")
        self.num_pairs = array("q")
        self.row_ids = array("q")
        self.files: dict[str, int] = {}
        self.file = array("i")
        self.number = array("q")
        self.scores = array("d")
        self.wins = array("d")
        self.labels = array("b")
        self.cut = array("b")
        self.learned: dict[int, Masks] = {}

    def add(self, example: Example) -> None:
        """One more example."""
        speeches = (example.prompt, *example.responses)
        self._parts += speeches
        self._waiting += example.num_tokens
        self.lengths.extend(map(len, speeches))
        self.num_speeches.append(len(speeches))
        self.pairs.extend(number for pair in example.pairs for number in pair)
        self.num_pairs.append(len(example.pairs))
        if example.learned is not None:
            self.learned[len(self.row_ids)] = example.learned
        self.row_ids.append(example.row_id)
        self.file.append(self.files.setdefault(example.where.file, len(self.files)))
        self.number.append(example.where.row)
        count = len(example.responses)
        self.scores.extend(example.scores or [np.nan] * count)
        self.wins.extend(example.win_probability or [np.nan] * count)
        self.labels.extend([-1] * count if example.labels is None else map(int, example.labels))
        self.cut.extend(example.cut or [False] * count)
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
        return ExampleTable(
            _Columns(
                ids=self.all_ids(),
                speech_starts=_starts(self.lengths),
                row_starts=_starts(self.num_speeches),
                pairs=np.array(self.pairs, dtype=np.int32).reshape(-1, 2),
                pair_starts=_starts(self.num_pairs),
                row_ids=np.array(self.row_ids, dtype=np.int64),
                file=np.array(self.file, dtype=np.int32),
                number=np.array(self.number, dtype=np.int64),
                scores=np.array(self.scores, dtype=np.float64),
                wins=np.array(self.wins, dtype=np.float64),
                labels=np.array(self.labels, dtype=np.int8),
                cut=np.array(self.cut, dtype=np.bool_),
                files=tuple(self.files),
                learned=self.learned,
            )
        )


def _room() -> Path | None:
    """Where a large file may lie; None: wherever the system keeps temporary files."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder
