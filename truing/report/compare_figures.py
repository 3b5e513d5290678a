"""Runs over each other: curves, score against KL, score against length. Pure functions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from truing.evaluation.bootstrap import Estimate
from truing.evaluation.frontier import Frontier, FrontierPoint
from truing.report.collect import Curves
from truing.report.colours import RUNS, SERIES
from truing.report.compared import Comparison, Measured
from truing.report.figures import QUESTIONS, Line, Question
from truing.report.frame import Figure, draw_level, figure_of
from truing.report.numbers import number, percent
from truing.report.smoothing import smooth, thin_evenly

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_MARKS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star")
_LEFT_OUT = {"learning_rate", "gradient"}


def role_of(place: int) -> str:
    """The colour of the run at this place; they come again after eight."""
    return f"run_{place % len(RUNS) + 1}"


def comparison_figures(comparison: Comparison) -> tuple[Figure, ...]:
    """Curves of all runs over each other, one figure a question that at least one can answer."""
    found = []
    for question in QUESTIONS:
        if question.name not in _LEFT_OUT:
            for line in question.lines:
                figure = _curves(question, line, comparison)
                if figure is not None:
                    found.append(figure)
    return tuple(found)


def _curves(question: Question, line: Line, comparison: Comparison) -> Figure | None:
    """One line of a question, a trace a run: the smooth course of training, or evaluations."""
    traces, readings = [], []
    for place, (name, run) in enumerate(zip(comparison.names, comparison.runs, strict=True)):
        step, values, is_held_out = _column(line, run.training, run.evaluations)
        if not len(step):
            continue
        calm = values if is_held_out or question.is_exact else smooth(values)
        x, y = thin_evenly(step, calm)
        style = {
            "width": 2,
            "dash": _DASHES[place % len(_DASHES)],
            "color": RUNS[place % len(RUNS)].light,
        }
        traces.append(
            go.Scatter(
                x=x, y=y, name=name, meta={"role": role_of(place)}, line=style,
                mode="lines" if len(x) > 1 else "markers",
            )
        )  # fmt: skip
        say = percent if question.is_share else number
        known = values[np.isfinite(values)]
        if len(known):
            readings.append(
                f"{name}: {say(float(known[0]))} at first, {say(float(known[-1]))} at last."
            )
    if len(traces) < 2:
        return None
    unit = question.unit
    plot = figure_of(traces, "optimizer step", unit, is_share=question.is_share)
    if question.level is not None:
        draw_level(plot, question.level)
    many = len(question.lines) > 1
    title = f"{question.title} ({line.label})" if many else question.title
    return Figure(
        f"over-{question.name}-{line.role}-{line.label.replace(' ', '-').replace(',', '')}",
        title,
        question.caption,
        " ".join(readings),
        plot,
    )


def _column(line: Line, training: Curves, evaluations: Curves) -> tuple[Any, Any, bool]:
    of_training = training.values.get(line.training) if line.training else None
    if of_training is not None:
        return training.step, of_training, False
    held_out = evaluations.values.get(line.held_out) if line.held_out else None
    if held_out is not None:
        return evaluations.step, held_out, True
    return np.zeros(0), np.zeros(0), False


def frontier_figure(frontier: Frontier, names: Sequence[str]) -> Figure:
    """Score against KL, a mark a run, the frontier as a line of steps."""
    traces: list[Any] = [
        _mark(point.run, names.index(point.run), point.kl, point.score) for point in frontier.points
    ]
    best = sorted((p for p in frontier.points if p.is_on), key=lambda p: p.kl.value)
    traces.append(
        go.Scatter(
            x=[p.kl.value for p in best], y=[p.score.value for p in best], name="frontier",
            mode="lines", hoverinfo="skip",
            line={"width": 1, "dash": "dot", "shape": "hv", "color": SERIES["before"].light},
            meta={"role": "before"},
        )
    )  # fmt: skip
    plot = figure_of(traces, "KL to the reference (nats a response)", "score", is_share=False)
    plot.update_layout(hovermode="closest")
    plot.update_xaxes(rangemode="tozero")
    return Figure(
        "frontier",
        "What does each run give for how far it went?",
        "Up and to the left is better. A run is on the frontier if no other has at least its score "
        "at no more KL. Bars are 95 % intervals over prompts.",
        " ".join(_said(point) for point in frontier.points),
        plot,
    )


def _said(point: FrontierPoint) -> str:
    where = "on the frontier" if point.is_on else "behind it"
    sure = "" if np.isnan(point.chance) else f" (on it in {percent(point.chance)} of resamples)"
    return (
        f"{point.run}: score {number(point.score.value)} at KL {number(point.kl.value)}, "
        f"{where}{sure}."
    )


def length_figure(names: Sequence[str], score: Measured, length: Measured) -> Figure | None:
    """Mean score against mean length, a mark a run."""
    both = [
        (place, values)
        for place, values in enumerate(zip(length.values, score.values, strict=True))
        if values[0] is not None and values[1] is not None
    ]
    if len(both) < 2:
        return None
    traces = [_mark(names[place], place, x, y) for place, (x, y) in both if x and y]
    plot = figure_of(traces, "tokens per response", "score", is_share=False)
    plot.update_layout(hovermode="closest")
    reading = " ".join(
        f"{names[place]}: score {number(y.value)} at {number(x.value)} tokens."
        for place, (x, y) in both
        if x and y
    )
    return Figure(
        "length-score",
        "Better, or only longer?",
        "Up is better; to the right is longer. Bars are 95 % intervals over prompts.",
        reading,
        plot,
    )


def _mark(name: str, place: int, x: Estimate, y: Estimate) -> Any:
    colour = RUNS[place % len(RUNS)].light
    bars = [
        {"type": "data", "symmetric": False, "array": [e.high - e.value],
         "arrayminus": [e.value - e.low], "thickness": 1.5, "width": 4, "color": colour}
        for e in (x, y)
    ]  # fmt: skip
    return go.Scatter(
        x=[x.value], y=[y.value], name=name, mode="markers", meta={"role": role_of(place)},
        error_x=bars[0], error_y=bars[1],
        marker={"size": 11, "symbol": _MARKS[place % len(_MARKS)], "color": colour},
    )  # fmt: skip
