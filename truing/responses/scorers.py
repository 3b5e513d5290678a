"""How good is a response: scorers as values, and what can be made of several.

    lexicon(path="lexicon.tsv")      0.5*reward_model(path="rm") + 0.1*lexicon(path="lexicon.tsv")
    ensemble([reward_model(path="a"), reward_model(path="b")], how="lowest")
    normalised(judge(model="gpt-5"), how="rank")

A scorer is a frozen value; `opened()` loads what it needs and gives a function from groups to
verdicts. A response that cannot be scored gets NaN and a fault in words, the others their scores.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from jaxtyping import Float

from truing.core.called import Called
from truing.errors import KnobError
from truing.responses.groups import Group

S = TypeVar("S", bound="Scorer")


@dataclass(frozen=True)
class Verdict:
    """What a scorer says of one group.

    Args:
        scores: one a response; NaN where it could not be scored.
        faults: why, one sentence for each response that could not; empty where all could.
    """

    scores: tuple[float, ...]
    faults: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, scores: Sequence[float], faults: Sequence[str] = (), told: Sequence[bool] = ()
    ) -> "Verdict":
        """With a fault for each score that is not finite and that nobody has explained.

        Args:
            scores: one a response.
            faults: what is known to have gone wrong.
            told: for each response, whether its fault is among them; (): none is.
        """
        values = tuple(float(score) for score in scores)
        told = tuple(told) or (False,) * len(values)
        odd = [
            f"the score is {value}"
            for value, is_told in zip(values, told, strict=True)
            if not (math.isfinite(value) or is_told)
        ]
        kept = tuple(value if math.isfinite(value) else math.nan for value in values)
        return cls(kept, (*faults, *odd))

    @classmethod
    def of_each(cls, found: Sequence[tuple[float, str]]) -> "Verdict":
        """Of a score and a fault ("" for none) of each response."""
        faults = [fault for _, fault in found]
        told = [bool(fault) for fault in faults]
        return cls.of([score for score, _ in found], [*filter(None, faults)], told)


class OpenScorer(ABC):
    """A scorer with its model, file or server at hand."""

    @abstractmethod
    def __call__(self, groups: Sequence[Group]) -> list[Verdict]:
        """One verdict a group, in order."""

    def cost(self) -> dict[str, float]:
        """What was spent so far, by name (calls, tokens, money); empty where nothing is."""
        return {}


class Scorer(Called, ABC):
    """How responses are scored: a value that can be added and weighted."""

    @abstractmethod
    def key(self) -> str:
        """Everything that its scores depend on beside the text: knobs, weights, files."""

    @abstractmethod
    def opened(self) -> OpenScorer:
        """Load what it takes."""

    def __add__(self, other: "Scorer") -> "Weighted":
        if not isinstance(other, Scorer):
            return NotImplemented
        return Weighted((*_terms(self), *_terms(other)))

    def __mul__(self, factor: float) -> "Weighted":
        if isinstance(factor, bool) or not isinstance(factor, int | float):
            return NotImplemented
        return Weighted(tuple((weight * float(factor), one) for weight, one in _terms(self)))

    __rmul__ = __mul__


def _terms(scorer: Scorer) -> tuple[tuple[float, Scorer], ...]:
    return scorer.terms if isinstance(scorer, Weighted) else ((1.0, scorer),)


def _matrix(verdicts: Sequence[Verdict]) -> Float[np.ndarray, "C K"]:
    return np.array([verdict.scores for verdict in verdicts], dtype=float)


class _Joined(OpenScorer):
    """Several scorers on the same groups, their scores brought together response by response."""

    def __init__(
        self,
        scorers: Sequence[Scorer],
        join: Callable[[Float[np.ndarray, "C K"]], Float[np.ndarray, "K"]],
    ) -> None:
        self._open = [scorer.opened() for scorer in scorers]
        self._join = join

    def __call__(self, groups: Sequence[Group]) -> list[Verdict]:
        columns = [scorer(groups) for scorer in self._open]
        return [self._joined(verdicts) for verdicts in zip(*columns, strict=True)]

    def _joined(self, verdicts: Sequence[Verdict]) -> Verdict:
        matrix = _matrix(verdicts)
        faults = [fault for verdict in verdicts for fault in verdict.faults]
        told = [not all(map(math.isfinite, column)) for column in matrix.T.tolist()]
        with np.errstate(over="ignore", invalid="ignore"):  # a fault of the response, and told
            joined = self._join(matrix)
        return Verdict.of(joined.tolist(), faults, told)

    def cost(self) -> dict[str, float]:
        total: dict[str, float] = {}
        for scorer in self._open:
            for name, value in scorer.cost().items():
                total[name] = total.get(name, 0.0) + value
        return total


@dataclass(frozen=True, repr=False)
class Weighted(Scorer):
    """A sum of scorers with weights; written with `+` and `*`."""

    terms: tuple[Any, ...]

    def __repr__(self) -> str:
        return " + ".join(
            repr(scorer) if weight == 1 else f"{weight!r}*{scorer!r}"
            for weight, scorer in self.terms
        )

    def key(self) -> str:
        """See `Scorer`."""
        return " + ".join(f"{weight!r}*{scorer.key()}" for weight, scorer in self.terms)

    def opened(self) -> OpenScorer:
        """See `Scorer`."""
        weights = np.array([weight for weight, _ in self.terms])
        return _Joined([scorer for _, scorer in self.terms], lambda scores: weights @ scores)


_HOW = {"mean": np.mean, "lowest": np.min, "highest": np.max, "middle": np.median}


@dataclass(frozen=True, repr=False)
class Ensemble(Scorer):
    """Several scorers as one.

    Args:
        scorers: two or more, on one scale (see `normalised`).
        how: their mean, the lowest of them (what all agree on), the highest, or the middle one.
    """

    word: ClassVar[str] = "ensemble"
    scorers: tuple[Any, ...]
    how: Literal["mean", "lowest", "highest", "middle"] = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_others(self.scorers, "ensemble(scorers=)")
        if len(self.scorers) < 2:
            raise KnobError(
                "needs two scorers or more", where="ensemble(scorers=)", fix="write the one alone"
            )

    def key(self) -> str:
        """See `Scorer`."""
        return f"ensemble {self.how} of {', '.join(one.key() for one in self.scorers)}"

    def opened(self) -> OpenScorer:
        """See `Scorer`."""
        function = _HOW[self.how]
        return _Joined(self.scorers, lambda scores: function(scores, axis=0))


def _rank(scores: Float[np.ndarray, "K"]) -> Float[np.ndarray, "K"]:
    """0 for the lowest, 1 for the highest, ties in the middle of their places."""
    from scipy.stats import rankdata

    return (rankdata(scores) - 1) / max(len(scores) - 1, 1)


def _range(scores: Float[np.ndarray, "K"]) -> Float[np.ndarray, "K"]:
    width = np.ptp(scores)
    return np.zeros_like(scores) if width == 0 else (scores - scores.min()) / width


def _z(scores: Float[np.ndarray, "K"]) -> Float[np.ndarray, "K"]:
    # Equal scores may have a spread of one rounding, which would make them all -1 or 1.
    width = np.ptp(scores)
    return np.zeros_like(scores) if width == 0 else (scores - scores.mean()) / scores.std()


_SCALES = {"z": _z, "rank": _rank, "range": _range}


@dataclass(frozen=True, repr=False)
class Normalised(Scorer):
    """A scorer whose scores are put on one scale within each prompt.

    Args:
        scorer: whose.
        how: "z": mean 0, standard deviation 1 (population); "rank": 0 to 1 by place; "range":
            lowest 0, highest 1. Equal scores give 0 (rank: one half). A response without a score
            takes no part.
    """

    word: ClassVar[str] = "normalised"
    scorer: Any
    how: Literal["z", "rank", "range"] = "z"

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_others((self.scorer,), "normalised(scorer=)")

    def key(self) -> str:
        """See `Scorer`."""
        return f"normalised {self.how} of {self.scorer.key()}"

    def opened(self) -> OpenScorer:
        """See `Scorer`."""
        scale = _SCALES[self.how]

        def join(scores: Float[np.ndarray, "1 K"]) -> Float[np.ndarray, "K"]:
            scaled = scores[0].copy()
            known = np.isfinite(scaled)
            if known.any():
                scaled[known] = scale(scaled[known])
            return scaled

        return _Joined([self.scorer], join)


def refuse_others(scorers: Sequence[Any], where: str) -> None:
    """Values that are no scorers.

    Raises:
        KnobError: names the first of them.
    """
    for one in scorers:
        if not isinstance(one, Scorer):
            raise KnobError(
                f"{one!r} is no scorer", where=where, fix='write for instance lexicon(path="...")'
            )
