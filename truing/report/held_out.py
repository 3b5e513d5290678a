"""Figures of the held-out evaluation and of the samples: tables in, figures out."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import plotly.graph_objects as go

from truing.report.collect import Sample
from truing.report.colours import SERIES
from truing.report.frame import ENDS, Figure, draw_level, figure_of, or_nan, with_interval
from truing.report.numbers import brief, number, percent, signed

FEW_SAMPLES = 8  # below this a cloud of points says nothing
MANY_SAMPLES = 150  # from here on marks lie on each other


def evaluation_figures(evaluation: Mapping[str, Any]) -> tuple[Figure, ...]:
    """Accuracy by length difference and by score gap, and calibration; what there is of it."""
    figures = (
        _buckets(
            "by_length",
            "Is the reward right because of the length?",
            "chosen minus rejected (tokens)",
            "Accuracy by length difference. Level marks are what one wants; rising ones mean that "
            "the longer response wins for being longer. Bars are 95 % intervals.",
            _rows(evaluation, "by_length_difference"),
            whole=True,
        ),
        _buckets(
            "by_score_gap",
            "Is it right where the difference is plain?",
            "score of chosen minus rejected",
            "Accuracy by score gap. It should rise to the right, where the pairs are clear.",
            _rows(evaluation, "by_score_gap"),
            whole=False,
        ),
        _calibration(_rows(evaluation, "calibration")),
    )
    return tuple(figure for figure in figures if figure is not None)


def _rows(evaluation: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    rows = evaluation.get(key)
    needed = ("low", "high", "pairs")
    return [
        row
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and all(math.isfinite(or_nan(row.get(name))) for name in needed)
    ]


_ACCURACIES = (
    ("reward_accuracy", "with reference", "run", "circle"),
    ("policy_accuracy", "without reference", "before", "square-open"),
)


def _buckets(
    name: str, title: str, axis: str, caption: str, rows: list[Mapping[str, Any]], *, whole: bool
) -> Figure | None:
    series = [s for s in _ACCURACIES if any(row.get(s[0]) is not None for row in rows)]
    if len(rows) < 2 or not series:
        return None
    labels = [_range(row, whole=whole) for row in rows]
    places = list(range(len(rows)))
    traces = [with_interval(places, rows, *one) for one in series]
    plot = figure_of(traces, axis, "share of pairs", is_share=True)
    plot.update_xaxes(tickvals=places, ticktext=labels, tickangle=0, range=[-0.5, len(rows) - 0.5])
    plot.update_layout(scattermode="group", scattergap=0.75)
    # Grouped marks would begin at 0 as bars do; from a little below the lowest is enough.
    plot.update_yaxes(range=_span(rows, [key for key, *_ in series]))
    draw_level(plot, 0.5)
    reading = "; ".join(
        f"{label.replace('<br>', ' ')}: "
        + ", ".join(f"{words} {percent(or_nan(row.get(key)))}" for key, words, *_ in series)
        for label, row in zip(labels, rows, strict=True)
    )
    return Figure(name, title, caption, f"{reading}.", plot)


def _span(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[float]:
    """From the lowest to the highest end of an interval, one half included, with some air."""
    ends = [or_nan(row.get(f"{key}{end}")) for key in keys for end in ENDS for row in rows]
    known = [0.5, *(end for end in ends if math.isfinite(end))]
    return [min(known) - 0.04, max(known) + 0.04]


def _range(row: Mapping[str, Any], *, whole: bool) -> str:
    low, high = (signed(int(row[end])) if whole else brief(row[end]) for end in ("low", "high"))
    bounds = low if low == high else f"{low}<br>to {high}"
    return f"{bounds}<br>n={number(row['pairs'])}"


def _calibration(rows: list[Mapping[str, Any]]) -> Figure | None:
    if len(rows) < 2:
        return None
    x = [or_nan(row.get("confidence")) for row in rows]
    diagonal = go.Scatter(
        x=[0.5, 1], y=[0.5, 1], mode="lines", name="as often as said", hoverinfo="skip",
        line={"width": 1, "dash": "dot", "color": SERIES["before"].light}, meta={"role": "before"},
    )  # fmt: skip
    found = with_interval(x, rows, "accuracy", "pairs", "run", "circle")
    plot = figure_of(
        [diagonal, found], "probability of the preferred side", "share it is right", is_share=True
    )
    plot.update_xaxes(tickformat=".0%")
    reading = "; ".join(
        f"said {percent(or_nan(row.get('confidence')))}, right "
        f"{percent(or_nan(row.get('accuracy')))} ({int(row['pairs'])} pairs)"
        for row in rows
    )
    return Figure(
        "calibration",
        "Is it as sure as it is right?",
        "The reward margin read as a probability. Below the dotted line the policy is too sure of "
        "itself, above it not sure enough.",
        f"{reading}.",
        plot,
    )


# ------------------------------------------------------------------ samples


def sample_figures(samples: Sequence[Sample]) -> tuple[Figure, ...]:
    """Score against length of the responses before and after; nothing without both numbers."""
    sides = {
        "before": [(s.tokens_before, s.score_before) for s in samples],
        "after": [(s.tokens_after, s.score_after) for s in samples],
    }
    known = {
        side: [(t, s) for t, s in points if t is not None and s is not None]
        for side, points in sides.items()
    }
    if min(map(len, known.values())) < FEW_SAMPLES:
        return ()
    marks = {"before": "circle-open", "after": "diamond"}
    size, opacity = (7, 0.85) if len(samples) < MANY_SAMPLES else (5, 0.45)
    traces = [
        go.Scatter(
            x=[t for t, _ in points], y=[s for _, s in points], mode="markers", name=side,
            meta={"role": side}, opacity=opacity,
            marker={"size": size, "symbol": marks[side], "color": SERIES[side].light},
        )
        for side, points in known.items()
    ]  # fmt: skip
    reading = " ".join(
        f"{side}: mean score {number(fmean(s for _, s in points))} at mean length "
        f"{number(fmean(t for t, _ in points))} over {len(points)} responses."
        for side, points in known.items()
    )
    plot = figure_of(traces, "tokens per response", "score", is_share=False)
    plot.update_layout(hovermode="closest")
    return (
        Figure(
            "score_by_length",
            "Better, or only longer?",
            "Each mark is one of the responses below. A cloud that moves up is better, one that "
            "moves to the right is longer.",
            reading,
            plot,
        ),
    )
