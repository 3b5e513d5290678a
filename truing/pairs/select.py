"""Who stands against whom: scores in, picks out; pure functions of the numbers.

    best_vs_worst()      all_pairs(min_gap=0.5)      rs_dpo(eta=0.9, tau=1.0, max_pairs=8)
    top_k(k=2)           win_rates(tau=1.0)          kwise()

N prompts, K responses (the widest prompt's; narrower ones end in responses that are not there),
P pairs.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from truing.core.called import Called
from truing.core.knobs import Count, Interval, NonNegative, Positive
from truing.core.language import parse_as
from truing.errors import KnobError

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of some prompts' responses.

    Args:
        values: NaN where there is no response or no score.
        eligible: responses that may be trained on; each has a score.
    """

    values: Float[Array, "N K"]
    eligible: Bool[Array, "N K"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Picked pairs, prompt by prompt.

    Args:
        row: which prompt.
        chosen: which of its responses.
        rejected: the same.
        win: win probabilities of both; None where the selector gives none.
    """

    row: Int[Array, "P"]
    chosen: Int[Array, "P"]
    rejected: Int[Array, "P"]
    win: Float[Array, "P 2"] | None = None


@dataclass(frozen=True, eq=False)
class Kept:
    """Picked responses.

    Args:
        kept: which.
        together: one row a prompt with all that were kept; False: one row a response.
    """

    kept: Bool[Array, "N K"]
    together: bool


class Selector(Called, ABC):
    """Which responses stand against which: a value."""

    @abstractmethod
    def __call__(self, scores: Scores) -> Pairs | Kept:
        """The picks; prompts in order, a prompt's widest pair first."""


def _ends(scores: Scores) -> tuple[Int[Array, "N"], Int[Array, "N"], Float[Array, "N"]]:
    """Best and worst eligible response of each prompt, and the gap (-inf without two of them)."""
    best = np.where(scores.eligible, scores.values, -np.inf).argmax(axis=1)
    worst = np.where(scores.eligible, scores.values, np.inf).argmin(axis=1)
    rows = np.arange(len(best))
    has_two = scores.eligible.sum(axis=1) >= 2
    gap = np.full(len(best), -np.inf)
    difference = scores.values[rows, best] - scores.values[rows, worst]
    gap[has_two] = difference[has_two]
    return best, worst, gap


def _widest(
    scores: Scores,
    is_wide: Callable[[Float[Array, "N K K"]], Bool[Array, "N K K"]],
    most: int | None,
) -> Pairs:
    """All ordered pairs with a wide gap, of each prompt the widest first, `most` of them."""
    size = scores.values.shape[1]
    if size == 0:
        nothing = np.zeros(0, dtype=np.int64)
        return Pairs(nothing, nothing, nothing)
    gap = scores.values[:, :, None] - scores.values[:, None, :]
    both = scores.eligible[:, :, None] & scores.eligible[:, None, :]
    wanted = (both & (gap > 0) & is_wide(np.where(both, gap, -np.inf))).reshape(len(gap), -1)
    order = np.argsort(np.where(wanted, -gap.reshape(len(gap), -1), np.inf), axis=1, kind="stable")
    counts = wanted.sum(axis=1)
    counts = counts if most is None else np.minimum(counts, most)
    taken = np.arange(order.shape[1])[None, :] < counts[:, None]
    row, place = np.nonzero(taken)
    chosen, rejected = np.divmod(order[row, place], size)
    return Pairs(row, chosen, rejected)


@dataclass(frozen=True, repr=False)
class BestVsWorst(Selector):
    """The best response of each prompt against the worst.

    Args:
        min_gap: a prompt whose gap is not above it gives no pair.
    """

    word: ClassVar[str] = "best_vs_worst"
    min_gap: NonNegative = 0.0

    def __call__(self, scores: Scores) -> Pairs:
        """See `Selector`."""
        best, worst, gap = _ends(scores)
        row = np.flatnonzero(gap > self.min_gap)
        return Pairs(row, best[row], worst[row])


@dataclass(frozen=True, repr=False)
class AllPairs(Selector):
    """Every pair of a prompt's responses whose gap is above `min_gap`."""

    word: ClassVar[str] = "all_pairs"
    min_gap: NonNegative = 0.0

    def __call__(self, scores: Scores) -> Pairs:
        """See `Selector`."""
        return _widest(scores, lambda gap: gap > self.min_gap, None)


@dataclass(frozen=True, repr=False)
class RsDpo(Selector):
    """Rejection sampling for DPO: pairs that the scores are sure of.

        sigmoid((s_i - s_j) / tau) > eta        response i against response j

    Args:
        eta: how sure, from 1/2 up; the larger, the fewer and cleaner the pairs. 0.85 to 0.95 in
            the paper.
        tau: unit of score.
        max_pairs: of one prompt, the widest; None: all, as in the paper.

    Source: arXiv:2402.10038, algorithm 1.
    """

    word: ClassVar[str] = "rs_dpo"
    eta: Annotated[float, Interval(0.5, 1.0, is_high_open=True)] = 0.9
    tau: Positive = 1.0
    max_pairs: Count | None = None

    def __call__(self, scores: Scores) -> Pairs:
        """See `Selector`."""
        return _widest(scores, lambda gap: expit(gap / self.tau) > self.eta, self.max_pairs)


@dataclass(frozen=True, repr=False)
class TopK(Selector):
    """The k best responses of each prompt, each against the worst; or alone.

    Args:
        k: how many.
        alone: rows of one prompt and one response, to be learned without a reject (rejection
            sampling, best of K).
    """

    word: ClassVar[str] = "top_k"
    k: Count = 1
    alone: bool = False

    def __call__(self, scores: Scores) -> Pairs | Kept:
        """See `Selector`."""
        worth = np.where(scores.eligible, scores.values, -np.inf)
        order = np.argsort(-worth, axis=1, kind="stable")[:, : self.k]
        rows = np.arange(len(order))[:, None]
        if self.alone:
            kept = np.zeros_like(scores.eligible)
            kept[rows, order] = scores.eligible[rows, order]
            return Kept(kept, together=False)
        _, worst, _ = _ends(scores)
        above = worth[rows, order] > scores.values[rows, worst[:, None]]
        row, place = np.nonzero(above)
        return Pairs(row, order[row, place], worst[row])


@dataclass(frozen=True, repr=False)
class WinRates(Selector):
    """Best against worst of each prompt with their win rates against the prompt's samples (SPPO).

        P_i = mean over j of sigmoid((s_i - s_j) / tau)        itself among them, at one half

    Args:
        k: the first so many samples are the opponents; None: all that have a score.
        tau: unit of score.
        as_given: the scores are win rates already, from 0 to 1 (those of a judge).

    Source: arXiv:2405.00675, section 4.
    """

    word: ClassVar[str] = "win_rates"
    k: Count | None = None
    tau: Positive = 1.0
    as_given: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.as_given and (self.k is not None or self.tau != 1.0):
            raise KnobError(
                "as_given=True computes no rate, so k and tau have no effect",
                where=repr(self),
                fix="leave k and tau out",
            )

    def __call__(self, scores: Scores) -> Pairs:
        """See `Selector`."""
        rate = scores.values if self.as_given else self._rates(scores.values)
        best, worst, gap = _ends(Scores(rate, scores.eligible))
        row = np.flatnonzero(gap > 0)
        ends = (best[row], worst[row])
        win = np.clip(np.stack([rate[row, end] for end in ends], axis=1), 0.0, 1.0)
        return Pairs(row, *ends, win)

    def _rates(self, values: Float[Array, "N K"]) -> Float[Array, "N K"]:
        opponents = values[:, : self.k]
        # Column by column: K numbers of a prompt at a time, not K times K.
        known = np.isfinite(opponents)
        total = np.zeros_like(values)
        for column in range(opponents.shape[1]):
            share = expit((values - opponents[:, column : column + 1]) / self.tau)
            total += np.where(known[:, column : column + 1], share, 0.0)
        return total / np.maximum(known.sum(axis=1, keepdims=True), 1)


@dataclass(frozen=True, repr=False)
class Kwise(Selector):
    """All responses of a prompt with their scores, for listwise objectives.

    Prompts whose responses all score the same are left out.
    """

    word: ClassVar[str] = "kwise"

    def __call__(self, scores: Scores) -> Kept:
        """See `Selector`."""
        _, _, gap = _ends(scores)
        return Kept(scores.eligible & (gap > 0)[:, None], together=True)


SELECTORS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {kind.word: kind for kind in (BestVsWorst, AllPairs, RsDpo, TopK, WinRates, Kwise)}
)


def parse_selector(text: str) -> Selector:
    """The selector that an expression stands for.

    Raises:
        KnobError: it is no selector expression.
    """
    return parse_as(text, SELECTORS, Selector, "selector")
