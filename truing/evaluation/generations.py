"""Are the policy's own responses better, longer, further away than those of the start?

N responses to the same prompts before and after, M response tokens. Log-ratios are in nats,
lengths in tokens with the end token counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from truing.errors import RowError
from truing.evaluation.bootstrap import (
    RESAMPLES,
    Array,
    Estimate,
    Mean,
    RatioOfSums,
    Statistic,
    estimate,
)
from truing.evaluation.length_control import WEAK, Against, LengthControlled, length_controlled
from truing.evaluation.pairs import check_columns, flat


@dataclass(frozen=True, eq=False)
class Generations:
    """Responses that one policy gave, a row each.

    Raises:
        RowError: columns of different lengths, no row, a score that is not finite.
    """

    length: Int[Array, "N"]
    """Tokens, the end token counted."""
    cut: Bool[Array, "N"]
    """True where the limit on new tokens came before the end token."""
    score: Float[Array, "N"] | None = None
    """A judge's number."""
    prompt: Int[Array, "N"] | None = None
    """Which prompt is answered; responses to one prompt are resampled together."""

    def __post_init__(self) -> None:
        columns = {"length": self.length, "cut": self.cut, "score": self.score}
        check_columns(columns | {"prompt": self.prompt}, "table of responses")

    def __len__(self) -> int:
        """N."""
        return len(self.length)


@dataclass(frozen=True, eq=False)
class LogRatios:
    """Per-token log(policy / reference) of responses drawn from the policy itself.

    The KL estimates hold for samples at temperature 1 without top-k or top-p: anything else is
    a sample of another distribution. A response that was cut counts as far as it goes.
    """

    log_ratio: Float[Array, "M"]
    response: Int[Array, "M"]
    """Which of the N responses each token belongs to."""

    def __post_init__(self) -> None:
        columns = {"log_ratio": self.log_ratio, "response": self.response}
        check_columns(columns, "table of log-ratios")


@dataclass(frozen=True)
class GenerationResult:
    """What `evaluate_generations` found; `to_json` gives it as plain numbers."""

    responses: int
    prompts: int
    estimates: Mapping[str, Estimate]

    def to_json(self) -> dict[str, float | int | None]:
        """`score`, `score_before`, `win_rate`, `kl` ... with `NAME_low` and `NAME_high`."""
        return {"responses": self.responses, "prompts": self.prompts} | flat(self.estimates)


def evaluate_generations(
    after: Generations,
    before: Generations | None = None,
    log_ratios: LogRatios | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> GenerationResult:
    """Means of the responses, and against `before` response by response (row i with row i).

    win_rate: share of responses that score above the other's, a tie counting one half; `ties` is
    their share. score_gain, length_gain: mean differences. cut: share that met the limit.
    kl: sequence KL to the reference by the low-variance estimator, kl_plain by the mean of the
    sums of log-ratios, kl_per_token: the former over tokens.

    Raises:
        RowError: `before` has other rows than `after`, or a log-ratio belongs to no response.
    """
    statistics = _means(after, "")
    if before is not None:
        _check_same_rows(after, before)
        statistics |= _means(before, "_before") | _differences(after, before)
    if log_ratios is not None:
        statistics |= _kl(log_ratios, after)
    return GenerationResult(
        responses=len(after),
        prompts=len(after) if after.prompt is None else len(np.unique(after.prompt)),
        estimates=estimate(statistics, after.prompt, resamples=resamples, seed=seed),
    )


def length_controlled_wins(after: Generations, before: Generations) -> LengthControlled:
    """The length-controlled win rate where the higher score wins, in the light form.

    Raises:
        RowError: scores are missing, or `before` has other rows.
    """
    _check_same_rows(after, before)
    if after.score is None or before.score is None:
        raise RowError(
            "has no scores, so nobody wins", where="table of responses", fix="score both first"
        )
    verdict = 0.5 * (1 + np.sign(after.score - before.score))
    rows = Against(verdict, after.length, before.length, prompt=after.prompt)
    return length_controlled(rows, strength=WEAK)


def _means(table: Generations, suffix: str) -> dict[str, Statistic]:
    found: dict[str, Statistic] = {
        f"length{suffix}": Mean(table.length.astype(float)),
        f"cut{suffix}": Mean(table.cut.astype(float), is_share=True),
    }
    if table.score is not None:
        found[f"score{suffix}"] = Mean(table.score.astype(float))
    return found


def _differences(after: Generations, before: Generations) -> dict[str, Statistic]:
    found: dict[str, Statistic] = {
        "length_gain": Mean((after.length - before.length).astype(float))
    }
    if after.score is not None and before.score is not None:
        gain = after.score - before.score
        found["score_gain"] = Mean(gain)
        found["win_rate"] = Mean(0.5 * (1 + np.sign(gain)), is_share=True)
        found["ties"] = Mean((gain == 0).astype(float), is_share=True)
    return found


def _kl(ratios: LogRatios, after: Generations) -> dict[str, Statistic]:
    """Both estimates, and per token.

    k3 = exp(-d) - 1 + d of each token's log-ratio d, summed over a response: given what stands
    before, its mean over the policy's next token is the KL of the two next-token distributions,
    so the sum's mean is the sequence KL, as that of the plain sum of d; but it is never negative
    and varies far less. (Taken of whole sequences, exp(-d) would be ruled by rare responses.)
    Source: Schulman 2020, "Approximating KL divergence" (k1, k3).
    """
    if ratios.response.min() < 0 or ratios.response.max() >= len(after):
        raise RowError(
            f"log-ratios of responses {ratios.response.min()} to {ratios.response.max()}, but "
            f"there are {len(after)} responses",
            where="table of log-ratios",
            fix="number the responses from 0, in the order of the other table",
        )
    low_variance = np.expm1(-ratios.log_ratio) + ratios.log_ratio
    k3 = np.bincount(ratios.response, weights=low_variance, minlength=len(after))
    k1 = np.bincount(ratios.response, weights=ratios.log_ratio, minlength=len(after))
    tokens = np.bincount(ratios.response, minlength=len(after)).astype(float)
    return {"kl": Mean(k3), "kl_plain": Mean(k1), "kl_per_token": RatioOfSums(k3, tokens)}


def _check_same_rows(after: Generations, before: Generations) -> None:
    same = len(after) == len(before) and (
        after.prompt is None or before.prompt is None or np.array_equal(after.prompt, before.prompt)
    )
    if not same:
        raise RowError(
            f"{len(after)} responses after and {len(before)} before do not answer the same prompts",
            where="table of responses",
            fix="sample both for the same prompts, in the same order",
        )
