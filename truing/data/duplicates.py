"""The same thing said twice: repeated rows, contradictions, near-duplicates, test rows in training.

Near-duplicates are found by MinHash and locality-sensitive hashing (Broder 1997; datasketch) over
the word 3-grams of prompts. Rows without a prompt are compared by their responses.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from truing.core.progress import SILENT, Progress
from truing.data.rows import Row, Speech, text_of
from truing.data.signal import order_of
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


def repeats(rows: Iterable[Row]) -> list[tuple[Where, Where]]:
    """Rows that say the same as an earlier one (scores aside), each with the first of its kind."""
    first: dict[int, Where] = {}
    found = []
    for row in rows:
        if row.id in first:
            found.append((first[row.id], row.where))
        first.setdefault(row.id, row.where)
    return found


def contradictions(rows: Iterable[Row]) -> list[Contradiction]:
    """Pairs that stand in both orders, and responses with both labels or with two scores."""
    ordered: dict[tuple[Speech, Speech, Speech], Where] = {}
    labelled: dict[tuple[Speech, Speech, bool], Where] = {}
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


def _is_divided(row: Row) -> bool:
    order = order_of(row) or ()
    scores: dict[Speech, set[float]] = defaultdict(set)
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


def distinct(rows: Iterable[Row]) -> dict[str, Where]:
    """Each text that is asked, and the first row with it."""
    texts: dict[str, Where] = {}
    for row in rows:
        texts.setdefault(asked(row), row.where)
    return texts


def near_duplicates(texts: dict[str, Where], *, progress: Progress = SILENT) -> list[Twin]:
    """Texts of one set that are nearly the same as an earlier one; each with its nearest."""
    index = _Index()
    found = []
    with progress.task(total=len(texts), description="near-duplicates") as task:
        for text, where in texts.items():
            sketch = _sketch(text)
            nearest = index.nearest(sketch)
            if nearest is not None:
                found.append(Twin(nearest[0], where, nearest[1]))
            index.add(sketch, where)
            task.advance()
    return found


def contamination(
    train: dict[str, Where], test: dict[str, Where], *, progress: Progress = SILENT
) -> list[Twin]:
    """Texts of the test set that also stand in the training set, exactly or nearly."""
    index, found = _Index(), []
    with progress.task(total=len(train) + len(test), description="train against test") as task:
        for text, where in train.items():
            index.add(_sketch(text), where)
            task.advance()
        for text, where in test.items():
            if text in train:
                found.append(Twin(train[text], where, 1.0))
            else:
                nearest = index.nearest(_sketch(text))
                if nearest is not None:
                    found.append(Twin(nearest[0], where, nearest[1]))
            task.advance()
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
    from datasketch import MinHash

    sketch = MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=int)
    sketch.update_batch(_grams(text))
    return sketch


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
