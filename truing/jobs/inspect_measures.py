"""Numbers on preference rows before any training: lengths, length bias, scores, limits.

P pairs, R responses. A length is in tokens where there is a tokenizer, else in characters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from truing.data.signal import order_of
from truing.evaluation.bootstrap import Correlation, Estimate, Mean, estimate
from truing.jobs.inspect_rows import RowFacts

Floats = NDArray[np.float64]
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
LIMITS = (256, 512, 1024, 2048, 4096, 8192)
BINS = 60
_RULE = ("longer_wins", "longer_wins_low", "longer_wins_high")


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs that some rows make, as columns.

    Args:
        chosen: length of the chosen response, (P,).
        rejected: length of the rejected response, (P,).
        gap: score of chosen minus score of rejected, NaN without scores, (P,).
        scores: of chosen and of rejected, (P, 2).
        group: which prompt the pair belongs to, (P,).
    """

    chosen: Floats
    rejected: Floats
    gap: Floats
    scores: Floats
    group: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.chosen)


def pairs_of(rows: Sequence[RowFacts]) -> Pairs:
    """Chosen against rejected of pair rows, and all that the scores order of K-wise rows."""
    columns: list[tuple[float, float, float, float, int]] = []
    prompts: dict[Any, int] = {}
    for row in rows:
        # Rows without a prompt have nothing in common.
        group = prompts.setdefault(row.prompt or row.where, len(prompts))
        length, scores = row.lengths, row.scores or (np.nan,) * len(row.lengths)
        for one, other in _ordered(row):
            columns.append((length[one], length[other], scores[one], scores[other], group))
    table = np.array(columns, dtype=float).reshape(-1, 5)
    return Pairs(
        table[:, 0],
        table[:, 1],
        table[:, 2] - table[:, 3],
        table[:, 2:4],
        table[:, 4].astype(np.int64),
    )


def _ordered(row: RowFacts) -> list[tuple[int, int]]:
    if row.kind == "pair":
        return [(0, 1)]
    order = order_of(row) if row.kind == "kwise" else None
    count = range(len(row.responses) if order else 0)
    return [(i, j) for i in count for j in count if order and order[i] > order[j]]


def length_bias(pairs: Pairs) -> dict[str, Any]:
    """How far the choice follows length, with intervals over prompts.

    `longer_wins` is the accuracy of the rule "the longer response is the chosen one" over all
    pairs, equal lengths counting one half; `longer`, `equal`, `shorter` are shares of pairs. Where
    no two lengths differ the rule says nothing, and has no accuracy.
    """
    if not len(pairs):
        return {}
    gap = pairs.chosen - pairs.rejected
    wins = np.where(gap == 0, 0.5, gap > 0)
    sides = np.stack([pairs.chosen, pairs.rejected], axis=1)
    is_chosen = np.tile([1.0, 0.0], (len(pairs), 1))
    statistics: dict[str, Any] = {
        "longer_wins": Mean(wins, is_share=True),
        "difference": Mean(gap),
        "log_ratio": Mean(np.log(np.maximum(pairs.chosen, 1) / np.maximum(pairs.rejected, 1))),
        "correlation": Correlation(sides, is_chosen),
    }
    if np.isfinite(pairs.gap).all() and np.ptp(pairs.gap) > 0:
        statistics["score_correlation"] = Correlation(gap[:, None], pairs.gap[:, None])
    found = _plain(estimate(statistics, pairs.group))
    if not gap.any():
        found |= dict.fromkeys(_RULE)
    return {
        "pairs": len(pairs),
        "longer": float((gap > 0).mean()),
        "equal": float((gap == 0).mean()),
        "shorter": float((gap < 0).mean()),
        **found,
        "histogram": histogram(gap),
        "by_difference": _by_difference(gap, wins),
    }


def _by_difference(gap: Floats, wins: Floats) -> list[dict[str, Any]]:
    """Share of pairs whose chosen response is the longer one, by how far the lengths differ."""
    size = np.abs(gap)
    borders = np.unique(np.quantile(size[size > 0], [0, 0.25, 0.5, 0.75, 1])) if size.any() else []
    rows = []
    for low, high in pairwise(borders):
        inside = (size >= low) & ((size < high) if high < borders[-1] else (size <= high))
        inside &= size > 0
        if not inside.any():
            continue
        count = int(inside.sum())
        interval = stats.binomtest(round(wins[inside].sum()), count).proportion_ci(0.95, "wilson")
        share = float(wins[inside].mean())
        rows.append(
            {
                "from": float(low),
                "to": float(high),
                "pairs": count,
                "longer_wins": share,
                "longer_wins_low": min(float(interval.low), share),
                "longer_wins_high": max(float(interval.high), share),
            }
        )
    return rows


def label_bias(rows: Sequence[RowFacts]) -> dict[str, Any]:
    """The same for unpaired rows: does a longer response have the better label?

    `longer_wins` is the area under the ROC curve of the length: how often a desirable response is
    longer than an undesirable one; None where all are equally long.
    """
    labelled = [(row.label, row.lengths[0]) for row in rows if row.label is not None]
    good = np.array([n for label, n in labelled if label], dtype=float)
    bad = np.array([n for label, n in labelled if not label], dtype=float)
    found: dict[str, Any] = {"desirable": len(good), "undesirable": len(bad)}
    if not len(good) or not len(bad):
        return found
    if np.ptp(np.concatenate([good, bad])) == 0:
        return found | dict.fromkeys(_RULE)
    area = float(stats.mannwhitneyu(good, bad).statistic / (len(good) * len(bad)))
    # Hanley and McNeil 1982: standard error of an area under the ROC curve.
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    spread = (
        area * (1 - area) + (len(good) - 1) * (one - area**2) + (len(bad) - 1) * (two - area**2)
    )
    if area in {0.0, 1.0}:
        # The formula gives an interval of no width: the exact one of as many couples instead.
        few = min(len(good), len(bad))
        interval = stats.binomtest(round(area * few), few).proportion_ci(0.95)
        low, high = float(interval.low), float(interval.high)
        return found | _area(area, low, high, good, bad)
    error = 1.96 * np.sqrt(max(spread, 0.0) / (len(good) * len(bad)))
    return found | _area(area, max(0.0, area - error), min(1.0, area + error), good, bad)


def _area(area: float, low: float, high: float, good: Floats, bad: Floats) -> dict[str, Any]:
    return {
        "desirable_length": float(good.mean()),
        "undesirable_length": float(bad.mean()),
        "longer_wins": area,
        "longer_wins_low": low,
        "longer_wins_high": high,
    }


def spread(values: Sequence[float] | Floats) -> dict[str, Any]:
    """Mean, quantiles and histogram of some numbers; empty for none."""
    array = np.asarray(values, dtype=float)
    array = array[np.isfinite(array)]
    if not len(array):
        return {}
    quantiles = np.quantile(array, QUANTILES)
    names = ("min", "p5", "p25", "median", "p75", "p95", "max")
    return {
        "count": len(array),
        "mean": float(array.mean()),
        **{name: float(value) for name, value in zip(names, quantiles, strict=True)},
        "histogram": histogram(array),
    }


def histogram(values: Floats) -> dict[str, list[Any]]:
    """Counts in at most 60 bins between the 0.5 % and 99.5 % quantiles; the rest in the end bins.

    Values of few kinds (ratings) get a bin each.
    """
    kinds = np.unique(values)
    if len(kinds) <= 30:
        counts = [int((values == kind).sum()) for kind in kinds]
        return {"at": kinds.tolist(), "counts": counts}
    low, high = np.quantile(values, [0.005, 0.995])
    low, high = (float(low), float(high)) if high > low else (float(kinds[0]), float(kinds[-1]))
    counts, borders = np.histogram(np.clip(values, low, high), bins=BINS, range=(low, high))
    middles = (borders[:-1] + borders[1:]) / 2
    return {"at": middles.tolist(), "counts": counts.tolist()}


def score_facts(pairs: Pairs, rows: Sequence[RowFacts]) -> dict[str, Any]:
    """Scores, their gaps, and what ODPO's offset would be for each of its scales."""
    scores = [score for row in rows for score in row.scores or ()]
    if not scores:
        return {}
    gaps = pairs.gap[np.isfinite(pairs.gap)]
    facts = {"scores": spread(scores), "gaps": spread(gaps)}
    if not len(gaps):
        return facts
    both = pairs.scores
    with np.errstate(divide="ignore", invalid="ignore"):
        scales = {
            "log": np.where(gaps > 0, np.log(gaps), np.nan),
            "identity": gaps,
            "logratio": np.where(
                (both.min(axis=1) > 0) & (gaps > 0), np.log(both[:, 0] / both[:, 1]), np.nan
            ),
        }
    return facts | {"offsets": {name: _offset(values) for name, values in scales.items()}}


def _offset(values: Floats) -> dict[str, Any]:
    """An offset over the pairs: its spread, and how often it has no value or a negative one."""
    known = np.isfinite(values)
    facts = spread(values)
    facts.pop("histogram", None)
    return {
        "undefined": float((~known).mean()),
        "negative": float((values[known] < 0).mean()) if known.any() else 0.0,
        **facts,
    }


def truncation_forecast(rows: Sequence[RowFacts], limits: Sequence[int]) -> list[dict[str, Any]]:
    """For each limit what each policy would lose: rows, and tokens of those that stay."""
    prompts = np.array([row.prompt_length for row in rows], dtype=float)
    responses = [row.totals for row in rows]
    longest = np.array([max(lengths) for lengths in responses], dtype=float)
    total = float(prompts.sum() + sum(map(sum, responses)))
    forecast = []
    for limit in sorted(set(limits)):
        over = prompts + longest > limit
        no_room = over & (longest >= limit)  # not even one prompt token would fit
        no_response = over & (prompts >= limit)  # not even one response token would fit
        kept = over & ~no_room
        cut = sum(
            max(0.0, prompt + length - limit)
            for prompt, lengths, is_lost in zip(prompts, responses, no_response, strict=True)
            if not is_lost
            for length in lengths
        )
        forecast.append(
            {
                "max_length": int(limit),
                "rows_over": int(over.sum()),
                "rows_over_share": float(over.mean()),
                "prompt_cut_rows_lost": int(no_room.sum()),
                "prompt_cut_tokens": float((prompts + longest - limit)[kept].sum() / total),
                "response_cut_rows_lost": int(no_response.sum()),
                "response_cut_tokens": float(cut / total),
            }
        )
    return forecast


def _plain(found: Mapping[str, Estimate]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in found.items():
        plain |= value.to_json(name)
    return plain
