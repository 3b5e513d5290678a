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

_REFERENCE_WORDS: dict[ReferenceNeed, str] = {
    "none": "no reference",
    "sums": "log-probs of {}, summed over each response",
    "tokens": "log-probs of {} for each token",
}
_SCORE_WORDS: dict[ScoreNeed, str] = {
    "none": "no scores",
    "any": "scores of the responses",
    "ordered": "scores, the chosen response's strictly higher",
    "positive": "scores above zero, the chosen response's strictly higher",
}

_ROW_WORDS: dict[ResponseKind, str] = {
    "pairs": "pairs",
    "kwise": "K-wise rows",
    "unpaired": "unpaired rows",
}


def _rows(kinds: frozenset[ResponseKind]) -> str:
    return " or ".join(words for kind, words in _ROW_WORDS.items() if kind in kinds)


def _counted(references: int) -> str:
    return "the reference" if references == 1 else f"{references} references"


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

    def sentences(self) -> tuple[str, ...]:
        """What has to be there, each in words; nothing where pairs of any kind are enough."""
        said = {
            _REFERENCE_WORDS[self.reference].format(_counted(self.references)): self.references,
            "the reference runs at every step": self.live_reference,
            _SCORE_WORDS[self.scores]: self.scores != "none",
            "labels, desirable or not (of pairs: chosen or rejected)": self.labels,
            "win probabilities of the responses": self.win_probability,
            "log p_ref(y), the reference without the prompt": self.unconditional_reference,
            "another row's answer to each prompt": self.mismatched_responses,
            "log-probs of the prompt's tokens": self.prompt,
            _rows(self.responses): len(self.responses) < len(_ROW_WORDS),
            "the whole optimizer step at once (two passes)": self.couples == "batch",
        }
        for kind, names in (
            ("vocabulary statistic", self.vocabulary_statistics),
            ("auxiliary source", self.auxiliary),
            ("head on the prompt's last token", self.heads),
            ("running value", self.state),
        ):
            said |= {f"{kind} {name!r}": True for name in sorted(names)}
        return tuple(sentence for sentence, is_needed in said.items() if is_needed)

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
