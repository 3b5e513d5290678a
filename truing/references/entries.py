"""Stored log-probs as they lie in shards, and where in them the wanted ones are.

R responses, distinct ones N; T tokens of a shard.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa
import xxhash

from truing.data.table import ExampleTable
from truing.engine import TokenRow
from truing.references.keys import row_keys

SCHEMA = pa.schema([("key", pa.binary(16)), ("logps", pa.list_(pa.float32()))])
SHARD = ".arrow"
# Values of more tokens than this stay where they lie, mapped into memory (256 MiB of float32).
_IN_MEMORY = 64 * 2**20


@dataclass(frozen=True, eq=False)
class Entries:
    """Some responses of one model.

    Args:
        keys: 16 bytes each.
        ends: where the log-probs of each end, behind a 0, (len(keys) + 1,).
        flat: log-probs one response after the other, (T,) float32 nats.
    """

    keys: Sequence[bytes]
    ends: np.ndarray
    flat: np.ndarray

    @classmethod
    def of(cls, keys: Sequence[bytes], values: Sequence[np.ndarray]) -> "Entries":
        """Values that were computed, in memory."""
        ends = np.cumsum([0, *map(len, values)], dtype=np.int64)
        return cls(keys, ends, np.concatenate(values).astype(np.float32, copy=False))

    @classmethod
    def read(cls, path: Path) -> "list[Entries] | None":
        """A shard mapped into memory; None where it is not what its name says."""
        try:
            with pa.memory_map(str(path)) as source:
                data = source.read_buffer()
        except (OSError, pa.ArrowInvalid):
            return None
        if xxhash.xxh3_128_hexdigest(memoryview(data)) != path.name.removesuffix(SHARD):
            return None
        return [
            cls(_Packed(batch["key"]), batch["logps"].offsets.to_numpy(), _flat(batch["logps"]))
            for batch in pa.ipc.open_file(data).read_all().to_batches()
        ]

    def to_bytes(self) -> bytes:
        """The bytes of a shard."""
        table = pa.table(
            [
                pa.array(list(self.keys), type=pa.binary(16)),
                pa.ListArray.from_arrays(pa.array(self.ends, type=pa.int32()), pa.array(self.flat)),
            ],
            schema=SCHEMA,
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, SCHEMA) as writer:
            writer.write_table(table)
        return sink.getvalue().to_pybytes()

    def items(self) -> Iterator[tuple[bytes, np.ndarray]]:
        """Each key with its log-probs."""
        ends = self.ends.tolist()
        for number, key in enumerate(self.keys):
            yield key, self.flat[ends[number] : ends[number + 1]]


class _Packed(Sequence[bytes]):
    """Keys as they lie in a shard; made into bytes when they are looked at."""

    def __init__(self, column: pa.FixedSizeBinaryArray) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        found = self._column[index]
        return found.to_pylist() if isinstance(index, slice) else found.as_py()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._column.to_pylist())


def _flat(column: pa.ListArray) -> np.ndarray:
    return column.values.to_numpy()


class Asked:
    """Distinct responses among some rows, and which of them each row's are.

    Args:
        rows: whose responses are asked for.
    """

    def __init__(self, rows: Sequence[TokenRow]) -> None:
        self.rows = rows
        self.number: dict[bytes, int] = {}
        """Key of each distinct response -> its number."""
        first, place = array("q"), array("i")
        lengths, totals = array("q"), array("q")
        of, ends = array("q"), array("q", [0])
        for index, (prompt, responses) in enumerate(_speeches(rows)):
            for at, key in enumerate(row_keys(prompt, responses)):
                number = self.number.setdefault(key, len(self.number))
                if number == len(first):
                    first.append(index)
                    place.append(at)
                    lengths.append(len(responses[at]))
                    totals.append(len(prompt) + len(responses[at]))
                of.append(number)
            ends.append(len(of))
        self._first, self._place = first, place
        self.lengths = np.array(lengths, dtype=np.int64)
        """Tokens of each distinct response, (N,)."""
        self.totals = np.array(totals, dtype=np.int64)
        """With its prompt, (N,)."""
        self.of = np.array(of, dtype=np.int64)
        """Number of each response in the order of the rows, (R,)."""
        self.ends = np.array(ends, dtype=np.int64)
        """Where the responses of each row end, behind a 0, (rows + 1,)."""

    def __len__(self) -> int:
        return len(self.lengths)

    def text(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Prompt and response of a distinct response."""
        row = self.rows[self._first[number]]
        return row.prompt, row.responses[self._place[number]]


def _speeches(rows: Sequence[TokenRow]) -> Iterable[tuple[np.ndarray, Sequence[np.ndarray]]]:
    if isinstance(rows, ExampleTable):
        return rows.speeches()
    return ((row.prompt, row.responses) for row in rows)


class Places:
    """Where the asked responses lie among entries; those that do not are missing.

    Args:
        asked: distinct responses.
    """

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self._entries: list[Entries] = []
        self._entry = np.full(len(asked), -1, dtype=np.int32)
        self._start = np.zeros(len(asked), dtype=np.int64)

    def look(self, entries: Sequence[Entries]) -> None:
        """Take up what was put behind the entries that are known."""
        number, lengths = self.asked.number, self.asked.lengths
        for one in entries[len(self._entries) :]:
            ends = one.ends.tolist()
            for row, key in enumerate(one.keys):
                found = number.get(key)
                if found is not None and ends[row + 1] - ends[row] == lengths[found]:
                    self._entry[found], self._start[found] = len(self._entries), ends[row]
            self._entries.append(one)

    @property
    def missing(self) -> np.ndarray:
        """Numbers of the responses that are not there."""
        return np.flatnonzero(self._entry < 0)

    @property
    def there(self) -> np.ndarray:
        """Numbers of those that are."""
        return np.flatnonzero(self._entry >= 0)

    def value(self, number: int) -> np.ndarray:
        """Token log-probs of a response that is there."""
        entry, start = int(self._entry[number]), int(self._start[number])
        assert entry >= 0, "a response was left out of the reference pass"
        return self._entries[entry].flat[start : start + int(self.asked.lengths[number])]

    def rows(self, in_memory: int = _IN_MEMORY) -> Sequence[np.ndarray]:
        """Log-probs of each row's responses, one after the other; copied where they are few."""
        values = _Values(self)
        return list(values) if int(self.asked.lengths.sum()) <= in_memory else values


class _Values(Sequence[np.ndarray]):
    """One array a row, put together when it is looked at."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def __len__(self) -> int:
        return len(self._places.asked.rows)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        asked, index = self._places.asked, index % len(self)
        numbers = asked.of[asked.ends[index] : asked.ends[index + 1]]
        return np.concatenate([self._places.value(number) for number in numbers.tolist()])
