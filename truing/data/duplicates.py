"""The same thing said twice: repeated rows, contradictions, near-duplicates, test rows in training.

Near-duplicates are found by MinHash and locality-sensitive hashing (Broder 1997; datasketch) over
the word 3-grams of prompts. Rows without a prompt are compared by their responses.
"""

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Any, Protocol
from zlib import crc32

import numpy as np

from truing.core.progress import SILENT, Progress
from truing.data.rows import Kind, Row, text_of
from truing.data.signal import Judged, order_of
from truing.data.where import Where

NEAR = 0.8
"""Jaccard similarity of word 3-grams from which two texts are near-duplicates."""
_PERMUTATIONS = 128
_WORD = re.compile(r"\w+")
_GRAM = 3
# Odd 64-bit numbers that mix the words of a gram (Knuth's golden ratio and two others).
_MIXERS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


@dataclass(frozen=True)
class Contradiction:
    """Two rows that cannot both be right.

    Args:
        one: the first row.
        other: the row that says the opposite.
        what: in words.
    """

    one: Where
    other: Where
    what: str


@dataclass(frozen=True)
class Twin:
    """A text and another one that is nearly or exactly the same.

    Args:
        one: a row with the first text.
        other: a row with the second.
        similarity: 1 for equal texts (white space and case aside), else the estimated Jaccard.
    """

    one: Where
    other: Where
    similarity: float


class Said(Judged, Protocol):
    """A row, or what is left of one when its texts are hashes: equality is all that is asked."""

    @property
    def where(self) -> Where:
        """File and row."""
        ...

    @property
    def kind(self) -> Kind:
        """Of the row."""
        ...

    @property
    def id(self) -> int:
        """Hash of the content."""
        ...

    @property
    def prompt(self) -> Hashable:
        """The prompt, or its hash."""
        ...

    @property
    def responses(self) -> tuple[Hashable, ...]:
        """The responses, or their hashes."""
        ...

    @property
    def label(self) -> bool | None:
        """Of an unpaired row."""
        ...


def repeats(rows: Iterable[Said]) -> list[tuple[Where, Where]]:
    """Rows that say the same as an earlier one (scores aside), each with the first of its kind."""
    first: dict[int, Where] = {}
    found = []
    for row in rows:
        if row.id in first:
            found.append((first[row.id], row.where))
        first.setdefault(row.id, row.where)
    return found


def contradictions(rows: Iterable[Said]) -> list[Contradiction]:
    """Pairs that stand in both orders, and responses with both labels or with two scores."""
    ordered: dict[tuple[Hashable, Hashable, Hashable], Where] = {}
    labelled: dict[tuple[Hashable, Hashable, bool], Where] = {}
    found: list[Contradiction] = []
    for row in rows:
        if row.kind == "pair":
            chosen, rejected = row.responses
            ordered.setdefault((row.prompt, chosen, rejected), row.where)
            turned = ordered.get((row.prompt, rejected, chosen))
            if turned is not None and chosen != rejected:
                found.append(Contradiction(turned, row.where, "the same pair, exchanged"))
        elif row.label is not None:
            labelled.setdefault((row.prompt, row.responses[0], row.label), row.where)
            opposite = labelled.get((row.prompt, row.responses[0], not row.label))
            if opposite is not None:
                found.append(Contradiction(opposite, row.where, "one response with both labels"))
        elif row.kind == "kwise" and _is_divided(row):
            found.append(Contradiction(row.where, row.where, "equal responses, different scores"))
    return found


def _is_divided(row: Said) -> bool:
    order = order_of(row) or ()
    scores: dict[Hashable, set[float]] = defaultdict(set)
    for response, score in zip(row.responses, order, strict=False):
        scores[response].add(score)
    return any(len(values) > 1 for values in scores.values())


def asked(row: Row) -> str:
    """What a row is about: its prompt, or its responses where there is none; case and spaces even.

    Of a conversation the words of all turns but the system's.
    """
    if isinstance(row.prompt, str):
        text = row.prompt
    else:
        text = "\n".join(turn.content for turn in row.prompt if turn.role != "system")
    if not text.strip():
        text = "\n".join(sorted(map(text_of, row.responses)))
    return " ".join(text.casefold().split())


class Texts:
    """Distinct texts that are asked: of each a key, a sketch, and the first row with it.

    The texts themselves are not kept.
    """

    def __init__(self) -> None:
        self._places: dict[bytes, Where] = {}
        self._sketches: list[Any] = []

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[tuple[bytes, Where, Any]]:
        """Key, first row and sketch of each text, in the order in which they came."""
        for (key, where), sketch in zip(self._places.items(), self._sketches, strict=True):
            yield key, where, sketch

    def add(self, row: Row) -> None:
        """What one more row is about."""
        self.put(asked(row), row.where)

    def put(self, text: str, where: Where) -> None:
        """One more text."""
        key = blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
        if key not in self._places:
            self._places[key] = where
            self._sketches.append(_sketch(text))

    def place(self, key: bytes) -> Where | None:
        """The first row with the text of this key."""
        return self._places.get(key)


def distinct(rows: Iterable[Row]) -> Texts:
    """Each text that is asked, and the first row with it."""
    texts = Texts()
    for row in rows:
        texts.add(row)
    return texts


def near_duplicates(texts: Texts, *, progress: Progress = SILENT) -> list[Twin]:
    """Texts of one set that are nearly the same as an earlier one; each with its nearest."""
    index = _Index()
    found = []
    for _, where, sketch in progress.track(texts, total=len(texts), description="near-duplicates"):
        nearest = index.nearest(sketch)
        if nearest is not None:
            found.append(Twin(nearest[0], where, nearest[1]))
        index.add(sketch, where)
    return found


def contamination(train: Texts, test: Texts, *, progress: Progress = SILENT) -> list[Twin]:
    """Texts of the test set that also stand in the training set, exactly or nearly."""
    index, found = _Index(), []
    for _, where, sketch in progress.track(
        train, total=len(train), description="train against test"
    ):
        index.add(sketch, where)
    for key, where, sketch in test:
        same = train.place(key)
        if same is not None:
            found.append(Twin(same, where, 1.0))
            continue
        nearest = index.nearest(sketch)
        if nearest is not None:
            found.append(Twin(nearest[0], where, nearest[1]))
    return found


class _Index:
    """Sketches that can be asked for the one most like another."""

    def __init__(self) -> None:
        from datasketch import MinHashLSH

        self._lsh = MinHashLSH(threshold=NEAR, num_perm=_PERMUTATIONS)
        self._known: list[tuple[Any, Where]] = []

    def add(self, sketch: Any, where: Where) -> None:
        self._lsh.insert(len(self._known), sketch, check_duplication=False)
        self._known.append((sketch, where))

    def nearest(self, sketch: Any) -> tuple[Where, float] | None:
        """The place of the most similar text at or above `NEAR`, and the similarity."""
        candidates: list[Any] = self._lsh.query(sketch)
        scored = [(float(self._known[i][0].jaccard(sketch)), -i) for i in candidates]
        similarity, index = max(scored, default=(0.0, 0))
        return (self._known[-index][1], similarity) if similarity >= NEAR else None


def _sketch(text: str) -> Any:
    from datasketch import LeanMinHash

    sketch = _blank_sketch().copy()
    sketch.update_batch(_grams(text))
    return LeanMinHash(sketch)


@cache
def _blank_sketch() -> Any:
    """Of no text; its random permutations are drawn once and shared by all."""
    from datasketch import MinHash

    return MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=int)


def _grams(text: str) -> list[int]:
    """32-bit hashes of the distinct word 3-grams; of all words together where there are fewer."""
    words = np.array([crc32(word.encode()) for word in _WORD.findall(text)], dtype=np.uint64)
    if len(words) < _GRAM:
        return [crc32(text.encode())]
    size = len(words) - _GRAM + 1
    mixed = np.zeros(size, dtype=np.uint64)
    for offset, mixer in enumerate(_MIXERS):
        mixed ^= words[offset : offset + size] * np.uint64(mixer)
        mixed = (mixed << np.uint64(7)) | (mixed >> np.uint64(57))
    return np.unique(mixed >> np.uint64(32)).tolist()
