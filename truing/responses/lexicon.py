"""A score from a table of words: the mean valence of those that a response says."""

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from truing.errors import ConfigError
from truing.responses.groups import Group
from truing.responses.scorers import OpenScorer, Scorer, Verdict

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_EDGES = ".,!?\"'()[]{}:;“”‘’"


@dataclass(frozen=True, repr=False)
class Lexicon(Scorer):
    """Sentiment by a lexicon: mean valence over the words of a response that the table knows.

        score = sum of valences / number of known words; 0 where none is known

    Letter case is ignored. A token of the table that holds no letter (an emoticon) counts where
    it stands between spaces; tokens with spaces inside never match. Where a token occurs twice in
    the table, the last line counts. Negations and intensifiers are not looked at.

    Args:
        path: a table with tabs: token, valence, and whatever else; a first line without a number
            is a heading.
    """

    word: ClassVar[str] = "lexicon"
    path: str

    def key(self) -> str:
        """See `Scorer`."""
        return f"lexicon {sha256(_bytes(self.path)).hexdigest()[:16]}"

    def opened(self) -> OpenScorer:
        """See `Scorer`.

        Raises:
            ConfigError: the table cannot be read.
        """
        return _Open(_read(self.path))


class _Open(OpenScorer):
    def __init__(self, valences: dict[str, float]) -> None:
        self._valences = valences

    def __call__(self, groups: Sequence[Group]) -> list[Verdict]:
        return [
            Verdict(tuple(self._score(said.text) for said in group.responses)) for group in groups
        ]

    def _score(self, text: str) -> float:
        text = text.lower()
        words = _WORD.findall(text)
        signs = (piece for piece in text.split() if not _WORD.search(piece))
        known = [
            self._valences[token]
            for token in (*words, *(sign if sign in self._valences else sign.strip(_EDGES)
                                    for sign in signs))
            if token in self._valences
        ]  # fmt: skip
        return sum(known) / len(known) if known else 0.0


def _bytes(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror})",
            where=f"lexicon(path={path!r})",
            fix="give a table with tabs: token, valence",
        ) from error


def _read(path: str) -> dict[str, float]:
    try:
        lines = _bytes(path).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(
            "is no text in UTF-8", where=f"lexicon(path={path!r})", fix="write it in UTF-8"
        ) from error
    valences: dict[str, float] = {}
    for number, cells in enumerate(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)):
        try:
            if not cells:
                continue
            valences[cells[0].lower()] = _finite(cells[1])
        except (ValueError, IndexError) as error:
            if number:
                raise ConfigError(
                    "is no token with a number behind a tab",
                    where=f"{path} line {number + 1}",
                    fix="mend the table",
                ) from error
    if not valences:
        raise ConfigError(
            "knows no word, so every response would score 0",
            where=f"lexicon(path={path!r})",
            fix="give a table with tabs: token, valence",
        )
    return valences


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
