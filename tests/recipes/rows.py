"""Three pairs and two groups of responses in plain numbers, and the arithmetic of the formulas."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Side:
    """One response: token log-probs (nats) and whatever else a recipe may read of it."""

    policy: tuple[float, ...]
    references: tuple[tuple[float, ...], ...]
    score: float = 0.0
    wins: float = 0.5
    alone: float = 0.0
    log_sum_sq: tuple[float, ...] = ()
    kl: tuple[float, ...] = ()
    label: bool | None = None
    mismatched: bool = False
    original: "Side | None" = None

    @property
    def still(self) -> "Side":
        """This response as the formula sees it under a stop-gradient."""
        return self.original or self

    @property
    def n(self) -> int:
        return len(self.policy)

    @property
    def L(self) -> float:  # noqa: N802  (the papers' letter)
        return sum(self.policy)

    @property
    def L_ref(self) -> float:  # noqa: N802
        return sum(self.references[0])

    @property
    def rho(self) -> list[float]:
        return [lp - lr for lp, lr in zip(self.policy, self.references[0], strict=True)]

    @property
    def r(self) -> float:
        return self.L - self.L_ref

    @property
    def rbar(self) -> float:
        return self.r / self.n

    @property
    def Lbar(self) -> float:  # noqa: N802
        return self.L / self.n


Row = tuple[Side, ...]
Rows = tuple[Row, ...]

# The chosen response comes first. Chosen shorter, chosen longer, equal; log-ratios of both signs.
PAIRS: Rows = (
    (
        Side(
            (-0.4, -1.3),
            ((-0.9, -1.1), (-0.7, -1.6), (-1.2, -0.8)),
            score=2.5,
            wins=0.8,
            alone=-3.1,
            log_sum_sq=(-0.6, -0.9),
            kl=(0.11, 0.32),
        ),
        Side(
            (-0.7, -2.1, -0.2, -1.6, -0.5),
            (
                (-0.5, -1.4, -0.6, -2.3, -0.35),
                (-0.6, -1.2, -0.8, -2.9, -0.7),
                (-0.4, -1.9, -0.3, -1.7, -0.6),
            ),
            score=1.2,
            wins=0.3,
            alone=-6.4,
            log_sum_sq=(-0.3, -1.2, -0.25, -0.8, -0.55),
            kl=(0.05, 0.41, 0.08, 0.27, 0.02),
        ),
    ),
    (
        Side(
            (-1.2, -0.3, -2.4, -0.8),
            ((-0.8, -0.45, -1.9, -0.7), (-1.0, -0.5, -2.2, -0.9), (-0.6, -0.7, -1.5, -1.1)),
            score=3.1,
            wins=0.65,
            alone=-5.2,
            log_sum_sq=(-1.5, -0.7, -1.9, -0.95),
            kl=(0.3, 0.04, 0.22, 0.13),
        ),
        Side(
            (-1.9,),
            ((-2.6,), (-2.2,), (-1.3,)),
            score=2.7,
            wins=0.4,
            alone=-2.9,
            log_sum_sq=(-1.4,),
            kl=(0.36,),
        ),
    ),
    (
        Side(
            (-0.15, -0.9, -1.05),
            ((-1.7, -0.7, -1.3), (-1.4, -0.6, -1.1), (-0.9, -1.0, -1.2)),
            score=1.9,
            wins=0.9,
            alone=-4.6,
            log_sum_sq=(-0.1, -0.85, -1.1),
            kl=(0.52, 0.09, 0.17),
        ),
        Side(
            (-2.8, -0.6, -1.1),
            ((-1.3, -0.75, -0.9), (-1.6, -0.5, -1.0), (-1.1, -0.95, -0.8)),
            score=0.6,
            wins=0.2,
            alone=-3.8,
            log_sum_sq=(-1.2, -0.7, -0.95),
            kl=(0.61, 0.03, 0.14),
        ),
    ),
)

LATER: Rows = tuple(
    (
        replace(yw, policy=tuple(0.8 * lp for lp in yw.policy)),
        replace(yl, policy=tuple(1.1 * lp - 0.05 for lp in yl.policy)),
    )
    for yw, yl in PAIRS
)
"""The same rows at a later step: chosen more likely, rejected less."""


def _response(policy: str, reference: str, score: float, **others: Any) -> Side:
    numbers = [tuple(float(word) for word in text.split()) for text in (policy, reference)]
    return Side(numbers[0], (numbers[1],), score=score, **others)


GROUPS: Rows = (
    (
        _response("-0.5 -1.4 -0.3", "-0.8 -1.1 -0.9", 1.5),
        _response("-2.35", "-1.7", 0.4),
        _response("-0.9 -0.2 -1.8 -0.6", "-0.7 -0.55 -2.4 -1.0", 2.2),
    ),
    (
        _response("-1.1 -0.4", "-1.5 -0.3", 0.9),
        _response("-0.25 -1.6", "-0.65 -1.2", 1.7),
        _response("-0.8 -0.7 -1.3 -0.2 -0.9", "-0.4 -1.0 -0.75 -0.6 -1.2", 0.2),
        _response("-0.35", "-1.45", 1.1),
    ),
)
"""K-wise rows: every response stands against all of its prompt that score lower."""

LABELLED: Rows = (
    (
        _response("-0.5 -1.4 -0.3", "-0.8 -1.1 -0.9", 0.0, label=True),
        _response("-1.7 -0.4", "-2.6 -0.7", 0.0, label=False, mismatched=True),
    ),
    (
        _response("-2.2", "-1.6", 0.0, label=True),
        _response("-0.6 -0.9 -1.2", "-1.1 -0.8 -1.9", 0.0, label=False, mismatched=True),
    ),
    (
        _response("-0.9 -0.2 -1.8 -0.6", "-0.7 -0.55 -2.4 -1.0", 0.0, label=False),
        _response("-1.3", "-0.95", 0.0, label=False, mismatched=True),
    ),
)
"""Unpaired rows: one labelled response each, and another row's answer to its prompt."""

PROMPTS = ((-1.1, -0.6), (-2.0,), (-0.3, -0.9, -1.4))
"""Token log-probs of the prompts of `PAIRS`."""

SOURCES = {
    "sft": ((-0.3, -1.2, -0.7), (-0.9,)),
    "pretrain": ((-2.1, -0.4, -1.5, -0.8),),
    "gold": ((-0.2, -0.6), (-1.4, -0.5, -0.1, -0.9)),
}
"""Token log-probs of the responses of auxiliary sources."""

# ---------------------------------------------------------------------------- plain arithmetic


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def logsig(x: float) -> float:
    return -math.log1p(math.exp(-x))


def relu(x: float) -> float:
    return max(0.0, x)


def clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def mean(values: Any) -> float:
    values = list(values)
    return sum(values) / len(values)


def deviation(values: Any) -> float:
    """With P - 1 below, as `torch.std`."""
    values = list(values)
    return math.sqrt(sum((v - mean(values)) ** 2 for v in values) / (len(values) - 1))


def pairs_of(rows: Rows) -> list[tuple[Side, Side]]:
    """Chosen and rejected: of each prompt all that the scores order."""
    own = [[side for side in row if not side.mismatched] for row in rows]
    return [(yw, yl) for row in own for yw in row for yl in row if yw.score > yl.score]


def nll(responses: Any, reduction: str) -> float:
    """The three means of a negative log-likelihood, in nats."""
    responses = list(responses)
    return {
        "token_mean": -sum(y.L for y in responses) / sum(y.n for y in responses),
        "sequence_mean": -mean(y.Lbar for y in responses),
        "sum": -mean(y.L for y in responses),
    }[reduction]


def source_of(name: str) -> list[Side]:
    return [Side(tokens, ()) for tokens in SOURCES[name]]


def over_pairs(formula: Callable[..., float]) -> Callable[..., float]:
    """The mean over pairs of a formula of chosen and rejected."""

    @functools.wraps(formula)
    def step(rows: Rows, **knobs: Any) -> float:
        return mean(formula(yw, yl, **knobs) for yw, yl in pairs_of(rows))

    return step
