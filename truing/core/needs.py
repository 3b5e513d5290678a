"""What an objective reads beyond the policy's token log-probs, computed from its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

ReferenceNeed = Literal["none", "sums", "tokens"]
ScoreNeed = Literal["none", "any", "ordered", "positive"]
ResponseKind = Literal["pairs", "kwise", "unpaired"]

Level = TypeVar("Level", bound=str)

_REFERENCE_ORDER: tuple[ReferenceNeed, ...] = ("none", "sums", "tokens")
_SCORE_ORDER: tuple[ScoreNeed, ...] = ("none", "any", "ordered", "positive")


def _stronger(order: tuple[Level, ...], one: Level, other: Level) -> Level:
    return order[max(order.index(one), order.index(other))]


@dataclass(frozen=True)
class Needs:
    """The union over an expression is what data, engine and references prepare, nothing more.

    Args:
        reference: not at all, sums per response, or per token.
        references: how many references at least (0 where `reference` is "none").
        live_reference: the reference model itself must run at every step (TDPO).
        scores: "any" number; "ordered": chosen strictly above rejected in every pair;
            "positive": ordered, and all above zero.
        labels: each response is marked desirable or not.
        win_probability: each response has a probability of winning.
        unconditional_reference: log p_ref(y) without the prompt.
        vocabulary_statistics: names of per-token statistics over the vocabulary.
        mismatched_responses: each row brings another row's answer to its prompt (KTO).
        prompt: token log-probs of the prompt itself (ORPO).
        auxiliary: names of extra sources drawn in the same step.
        heads: names of scalar heads at the prompt's last token.
        attached_heads: those whose gradient also moves the model below them; the others read it
            detached.
        responses: the kinds of rows on which every term is defined.
        couples: "batch" where examples of a step act on each other.
        state: names of running scalars.
    """

    reference: ReferenceNeed = "none"
    references: int = 0
    live_reference: bool = False
    scores: ScoreNeed = "none"
    labels: bool = False
    win_probability: bool = False
    unconditional_reference: bool = False
    vocabulary_statistics: frozenset[str] = frozenset()
    mismatched_responses: bool = False
    prompt: bool = False
    auxiliary: frozenset[str] = frozenset()
    heads: frozenset[str] = frozenset()
    attached_heads: frozenset[str] = frozenset()
    responses: frozenset[ResponseKind] = frozenset({"pairs", "kwise", "unpaired"})
    couples: Literal["pair", "batch"] = "pair"
    state: frozenset[str] = frozenset()

    def __or__(self, other: Needs) -> Needs:
        """What both together need; `responses` is what both can read."""
        return Needs(
            reference=_stronger(_REFERENCE_ORDER, self.reference, other.reference),
            references=max(self.references, other.references),
            live_reference=self.live_reference or other.live_reference,
            scores=_stronger(_SCORE_ORDER, self.scores, other.scores),
            labels=self.labels or other.labels,
            win_probability=self.win_probability or other.win_probability,
            unconditional_reference=self.unconditional_reference or other.unconditional_reference,
            vocabulary_statistics=self.vocabulary_statistics | other.vocabulary_statistics,
            mismatched_responses=self.mismatched_responses or other.mismatched_responses,
            prompt=self.prompt or other.prompt,
            auxiliary=self.auxiliary | other.auxiliary,
            heads=self.heads | other.heads,
            attached_heads=self.attached_heads | other.attached_heads,
            responses=self.responses & other.responses,
            couples="batch" if "batch" in (self.couples, other.couples) else "pair",
            state=self.state | other.state,
        )
