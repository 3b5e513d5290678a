"""Does the policy tell chosen from rejected, and by what: quality, or length alone?

P pairs. Log-probs are in nats, summed over the tokens of a response, its end token counted;
lengths are in tokens. Rewards are what the objective calls so (a scaled log-ratio, in metrics
`rewards/...`); without them (`reward_chosen=None`) everything that needs them is undefined.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from truing.errors import RowError
from truing.evaluation.bootstrap import (
    RESAMPLES,
    Array,
    CalibrationError,
    Correlation,
    Estimate,
    Mean,
    Statistic,
    estimate,
)

_CALIBRATION_BINS = 10
_SCORE_BUCKETS = 4


@dataclass(frozen=True, eq=False)
class PairTable:
    """One row a pair, both sides in columns; optional columns come in twos.

    Raises:
        RowError: columns of different lengths, one of two columns missing, no pair at all, a
            value that is not finite, or a length below one token.
    """

    logp_chosen: Float[Array, "P"]
    """log p of the policy."""
    logp_rejected: Float[Array, "P"]
    length_chosen: Int[Array, "P"]
    length_rejected: Int[Array, "P"]
    reward_chosen: Float[Array, "P"] | None = None
    reward_rejected: Float[Array, "P"] | None = None
    reference_chosen: Float[Array, "P"] | None = None
    """log p of the reference."""
    reference_rejected: Float[Array, "P"] | None = None
    score_chosen: Float[Array, "P"] | None = None
    score_rejected: Float[Array, "P"] | None = None
    prompt: Int[Array, "P"] | None = None
    """Which prompt a pair belongs to; the pairs of one prompt are resampled together."""

    def __post_init__(self) -> None:
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        check_columns(columns, "table of pairs")
        for name in ("reward", "reference", "score"):
            if (columns[f"{name}_chosen"] is None) != (columns[f"{name}_rejected"] is None):
                raise RowError(
                    f"`{name}` is given for one side only",
                    where="table of pairs",
                    fix=f"give both {name}_chosen and {name}_rejected, or neither",
                )

    def __len__(self) -> int:
        """P."""
        return len(self.logp_chosen)


@dataclass(frozen=True)
class Bucket:
    """The pairs whose length difference, score gap or confidence lies in [low, high]."""

    low: float
    high: float
    pairs: int
    estimates: Mapping[str, Estimate]

    def to_json(self) -> dict[str, float | int | None]:
        """One flat object with plain numbers."""
        return {"low": self.low, "high": self.high, "pairs": self.pairs} | flat(self.estimates)


@dataclass(frozen=True)
class PairResult:
    """What `evaluate_pairs` found; `to_json` gives it as plain numbers.

    `by_length_difference`: chosen minus rejected, in tokens. `by_score_gap`: chosen minus
    rejected. `calibration`: by the probability that the rewards give to the side they prefer.
    """

    pairs: int
    prompts: int
    estimates: Mapping[str, Estimate]
    by_length_difference: tuple[Bucket, ...]
    by_score_gap: tuple[Bucket, ...]
    calibration: tuple[Bucket, ...]

    def to_json(self) -> dict[str, object]:
        """`reward_accuracy`, `policy_accuracy`, `margin`, `pairs` ..., `NAME_low`, `NAME_high`."""
        return {
            **{"pairs": self.pairs, "prompts": self.prompts},
            **flat(self.estimates),
            "by_length_difference": [bucket.to_json() for bucket in self.by_length_difference],
            "by_score_gap": [bucket.to_json() for bucket in self.by_score_gap],
            "calibration": [bucket.to_json() for bucket in self.calibration],
        }


def evaluate_pairs(table: PairTable, *, resamples: int = RESAMPLES, seed: int = 0) -> PairResult:
    """Everything that held-out pairs can say, each number with its bootstrap interval.

    reward_accuracy, policy_accuracy: share of pairs with the chosen side strictly above (a tie
    is no success, as in TRL's metrics; `reward_ties` tells how many there are); the latter of
    log-prob sums without the reference, `policy_accuracy_per_token` of means. margin: mean
    reward difference. drift_*: log-ratio to the reference in nats; `displaced` is the share of
    pairs whose chosen response lost probability. chosen_longer: what a rule that always prefers
    the longer side would score. reward_length_correlation: over all 2P sides, and
    margin_length_correlation of the differences. log_loss and calibration_error read
    sigmoid(margin) as the probability that the chosen side wins (Bradley-Terry).
    """
    buckets = {
        "length": _buckets(_length_buckets(table.length_chosen - table.length_rejected), table),
        "score": _buckets(_score_buckets(table), table),
        "confidence": _calibration_buckets(table),
    }
    statistics = dict(_overall(table))
    for kind, found in buckets.items():
        for index, bucket in enumerate(found):
            statistics |= {f"{kind} {index} {name}": s for name, s in bucket.statistics.items()}
    numbers = estimate(statistics, table.prompt, resamples=resamples, seed=seed)

    def read(kind: str) -> tuple[Bucket, ...]:
        return tuple(
            Bucket(
                bucket.low,
                bucket.high,
                int(bucket.where.sum()),
                {name: numbers[f"{kind} {index} {name}"] for name in bucket.statistics},
            )
            for index, bucket in enumerate(buckets[kind])
        )

    undefined = Estimate(np.nan, np.nan, np.nan, 0)
    always = dict.fromkeys(("reward_accuracy", "policy_accuracy", "margin"), undefined)
    return PairResult(
        pairs=len(table),
        prompts=len(table) if table.prompt is None else len(np.unique(table.prompt)),
        estimates=always | {name: numbers[name] for name in _overall(table)},
        by_length_difference=read("length"),
        by_score_gap=read("score"),
        calibration=read("confidence"),
    )


def check_columns(columns: Mapping[str, Array | None], where: str) -> None:
    """All columns of one length, at least one row, every number finite, every length positive.

    Raises:
        RowError: naming the column and, where it can, the row.
    """
    given = {name: column for name, column in columns.items() if column is not None}
    lengths = {name: len(column) for name, column in given.items()}
    if len(set(lengths.values())) > 1:
        raise RowError(
            f"columns of different lengths: {lengths}", where=where, fix="one value a row in each"
        )
    if not next(iter(lengths.values())):
        raise RowError("nothing to evaluate: no rows", where=where, fix="check what was left out")
    for name, column in given.items():
        bad = ~np.isfinite(column) if not name.startswith("length") else column < 1
        if bad.any():
            row = int(np.argmax(bad))
            raise RowError(
                f"`{name}` is {column[row]} ({int(bad.sum())} such rows)",
                where=f"{where}, row {row}",
                fix="lengths count the end token, so they start at 1; other values must be finite",
            )


def check_preferences(values: Array, where: str, whose: str) -> None:
    """Each a probability that `whose` response is preferred.

    Raises:
        RowError: naming the row.
    """
    outside = (values < 0) | (values > 1)
    if outside.any():
        row = int(np.argmax(outside))
        raise RowError(
            f"preference {values[row]:g} lies outside 0 to 1",
            where=f"{where}, row {row}",
            fix=f"give the probability that {whose} response is preferred; a tie is 0.5",
        )


def flat(estimates: Mapping[str, Estimate]) -> dict[str, float | None]:
    """Estimates by name as one flat object with `NAME`, `NAME_low`, `NAME_high`."""
    return {key: value for name, e in estimates.items() for key, value in e.to_json(name).items()}


# ------------------------------------------------------------------ what is measured


def _overall(table: PairTable) -> dict[str, Statistic]:
    found: dict[str, Statistic] = _accuracies(table, None)
    found["chosen_longer"] = _share(table.length_chosen > table.length_rejected)
    for side in ("chosen", "rejected"):
        found[f"logp_{side}"] = Mean(getattr(table, f"logp_{side}"))
        found[f"length_{side}"] = Mean(getattr(table, f"length_{side}").astype(float))
    return found | _of_rewards(table) | _of_reference(table)


def _accuracies(table: PairTable, where: Bool[Array, "P"] | None) -> dict[str, Statistic]:
    per_token = (
        table.logp_chosen / table.length_chosen,
        table.logp_rejected / table.length_rejected,
    )
    found: dict[str, Statistic] = {
        "policy_accuracy": _share(table.logp_chosen > table.logp_rejected, where),
        "policy_accuracy_per_token": _share(per_token[0] > per_token[1], where),
    }
    margin = _margin(table)
    if margin is not None:
        found["reward_accuracy"] = _share(margin > 0, where)
        found["margin"] = Mean(margin, where)
    return found


def _of_rewards(table: PairTable) -> dict[str, Statistic]:
    margin = _margin(table)
    if margin is None or table.reward_chosen is None or table.reward_rejected is None:
        return {}
    rewards = np.stack([table.reward_chosen, table.reward_rejected], axis=1)
    lengths = np.stack([table.length_chosen, table.length_rejected], axis=1).astype(float)
    confidence, bins = _confidence(margin)
    return {
        "reward_chosen": Mean(table.reward_chosen),
        "reward_rejected": Mean(table.reward_rejected),
        "reward_ties": _share(margin == 0),
        "reward_length_correlation": Correlation(rewards, lengths),
        "margin_length_correlation": Correlation(margin, lengths[:, 0] - lengths[:, 1]),
        "log_loss": Mean(np.logaddexp(0.0, -margin)),
        "calibration_error": CalibrationError(
            confidence, _correct(margin), bins, _CALIBRATION_BINS
        ),
    }


def _of_reference(table: PairTable) -> dict[str, Statistic]:
    if table.reference_chosen is None or table.reference_rejected is None:
        return {}
    chosen = table.logp_chosen - table.reference_chosen
    rejected = table.logp_rejected - table.reference_rejected
    return {
        "drift_chosen": Mean(chosen),
        "drift_rejected": Mean(rejected),
        "drift_chosen_per_token": Mean(chosen / table.length_chosen),
        "drift_rejected_per_token": Mean(rejected / table.length_rejected),
        "displaced": _share(chosen < 0),
        "reference_accuracy": _share(table.reference_chosen > table.reference_rejected),
    }


def _margin(table: PairTable) -> Float[Array, "P"] | None:
    if table.reward_chosen is None or table.reward_rejected is None:
        return None
    return table.reward_chosen - table.reward_rejected


def _share(hits: Bool[Array, "P"], where: Bool[Array, "P"] | None = None) -> Mean:
    return Mean(hits.astype(float), where, is_share=True)


def _correct(margin: Float[Array, "P"]) -> Float[Array, "P"]:
    return 0.5 * (1 + np.sign(margin))


def _confidence(margin: Float[Array, "P"]) -> tuple[Float[Array, "P"], Int[Array, "P"]]:
    """Probability of the preferred side, in [0.5, 1], and its bin among equal widths."""
    confidence = expit(np.abs(margin))
    bins = np.floor((confidence - 0.5) * 2 * _CALIBRATION_BINS).astype(int)
    return confidence, np.clip(bins, 0, _CALIBRATION_BINS - 1)


# ------------------------------------------------------------------ buckets


@dataclass(frozen=True, eq=False)
class _Part:
    low: float
    high: float
    where: Bool[Array, "P"]
    statistics: Mapping[str, Statistic]


def _length_buckets(difference: Int[Array, "P"]) -> tuple[Array, Int[Array, "P"]]:
    """Much shorter, shorter, equal, longer, much longer; "much" is beyond the median difference.

    Zero has a bucket of its own: it is where length can explain nothing.
    """
    apart = np.abs(difference[difference != 0])
    much = np.median(apart) if len(apart) else 0
    size = np.where(np.abs(difference) > much, 2, 1)
    return difference, np.sign(difference) * size


def _score_buckets(table: PairTable) -> tuple[Array, Int[Array, "P"]] | None:
    """Quarters of the score gap (fewer where many gaps are equal)."""
    if table.score_chosen is None or table.score_rejected is None:
        return None
    gap = table.score_chosen - table.score_rejected
    edges = np.unique(np.quantile(gap, np.linspace(0, 1, _SCORE_BUCKETS + 1)[1:-1]))
    return gap, np.searchsorted(edges, gap, side="left")


def _buckets(found: tuple[Array, Int[Array, "P"]] | None, table: PairTable) -> list[_Part]:
    if found is None:
        return []
    values, bucket_of_row = found
    parts: list[_Part] = []
    for bucket in np.unique(bucket_of_row):
        where = bucket_of_row == bucket
        inside = values[where]
        parts.append(
            _Part(float(inside.min()), float(inside.max()), where, _accuracies(table, where))
        )
    return parts


def _calibration_buckets(table: PairTable) -> list[_Part]:
    margin = _margin(table)
    if margin is None:
        return []
    confidence, bins = _confidence(margin)
    correct = _correct(margin)
    edges = np.linspace(0.5, 1.0, _CALIBRATION_BINS + 1)
    parts: list[_Part] = []
    for index in np.unique(bins):
        where = bins == index
        means: dict[str, Statistic] = {
            "confidence": Mean(confidence, where),
            "accuracy": Mean(correct, where, is_share=True),
        }
        parts.append(_Part(float(edges[index]), float(edges[index + 1]), where, means))
    return parts
