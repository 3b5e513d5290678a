"""How responses are worded: long, repetitive, alike, sure of themselves, cut off.

N responses, T tokens of one. Tokens are whatever the response is made of: ids or words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from truing.evaluation.bootstrap import (
    RESAMPLES,
    Array,
    Estimate,
    Mean,
    RatioOfSums,
    Statistic,
    estimate,
)

REPEATED_NGRAM = 4
_NGRAMS = (1, 2, 3)


@dataclass(frozen=True)
class Wording:
    """Numbers of one policy's responses, `estimates` with intervals, `of_all` without.

    `estimates`: `length` (tokens), `repetition` (share of a response's 4-grams that it said
    before; Welleck et al. 2019, arXiv:1908.04319, seq-rep-4), `cut` (share that met the limit),
    `empty`, `surprise` (mean -log p of a sampled token: an estimate of the policy's entropy per
    token at temperature 1, nats).

    `of_all` are properties of the whole set, which no resampling can vary rightly (a response
    drawn twice is no new repetition): `distinct_1` to `distinct_3` (different n-grams over all;
    Li et al. 2016, arXiv:1510.03055), `distinct_responses`, `token_entropy` (of the tokens'
    frequencies, nats), `length_median`, `length_p90`, and `budget`, the tokens they rest on.
    """

    estimates: dict[str, Estimate]
    of_all: dict[str, float]

    def to_json(self) -> dict[str, float | None]:
        """One flat object."""
        found: dict[str, float | None] = {}
        for name, value in self.estimates.items():
            found |= value.to_json(name)
        return found | {k: None if np.isnan(v) else v for k, v in self.of_all.items()}


def wording(
    responses: Sequence[Sequence[int]],
    cut: Bool[Array, "N"],
    logp: Float[Array, "N"] | None = None,
    prompt: Int[Array, "N"] | None = None,
    *,
    budget: int | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Wording:
    """Describe the responses of one policy.

    Args:
        responses: tokens of each.
        cut: whether the limit on new tokens came first.
        logp: sum of the policy's own log-probs over each response, sampled at temperature 1.
        prompt: responses of one prompt are resampled together.
        budget: tokens that distinct-n and entropy are taken over (the first so many): distinct-n
            falls with the amount of text, so sets are compared at equal budget. None: all.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    lengths = np.array([len(one) for one in responses], dtype=float)
    statistics: dict[str, Statistic] = {
        "length": Mean(lengths),
        "repetition": Mean(np.array([repetition(one) for one in responses])),
        "cut": Mean(np.asarray(cut, dtype=float), is_share=True),
        "empty": Mean((lengths <= 1).astype(float), is_share=True),
    }
    if logp is not None:
        statistics["surprise"] = RatioOfSums(-logp, lengths)
    found = estimate(statistics, prompt, resamples=resamples, seed=seed)
    return Wording(found, _of_all(responses, lengths, budget))


def repetition(tokens: Sequence[int], size: int = REPEATED_NGRAM) -> float:
    """Share of the n-grams of a response that it holds already; 0 where it is shorter."""
    grams = _ngrams(tokens, size)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct(responses: Sequence[Sequence[int]], size: int, budget: int | None = None) -> float:
    """Different n-grams over all n-grams of the first `budget` tokens; NaN where there are none."""
    grams = [gram for tokens in _within(responses, budget) for gram in _ngrams(tokens, size)]
    return len(set(grams)) / len(grams) if grams else np.nan


def _of_all(
    responses: Sequence[Sequence[int]], lengths: Float[Array, "N"], budget: int | None
) -> dict[str, float]:
    inside = _within(responses, budget)
    flat = [token for tokens in inside for token in tokens]
    counts = np.unique(np.array(flat), return_counts=True)[1] if flat else np.zeros(0)
    return {
        **{f"distinct_{size}": distinct(inside, size) for size in _NGRAMS},
        "distinct_responses": len({tuple(one) for one in responses}) / len(responses),
        "token_entropy": float(stats.entropy(counts)) if len(counts) else np.nan,
        "length_median": float(np.median(lengths)),
        "length_p90": float(np.quantile(lengths, 0.9)),
        "budget": float(len(flat)),
    }


def _within(responses: Sequence[Sequence[int]], budget: int | None) -> list[Sequence[int]]:
    """The first tokens of all responses, `budget` in all."""
    if budget is None:
        return list(responses)
    kept, left = [], budget
    for tokens in responses:
        if left <= 0:
            break
        kept.append(tokens[:left])
        left -= len(tokens)
    return kept


def _ngrams(tokens: Sequence[int], size: int) -> list[tuple[int, ...]]:
    return list(zip(*(tokens[start:] for start in range(size)), strict=False))
