"""A study's figures, from numbers that were computed elsewhere: pure, one look for all of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from truing.report.colours import RUNS
from truing.report.compare_figures import role_of
from truing.report.frame import Figure, draw_level, figure_of, or_nan
from truing.report.numbers import number

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_MARKS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star")
_MOST_READ = 40


def study_figures(drawn: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> tuple[Figure, ...]:
    """One figure for each entry; a method keeps its colour, mark and dash through all of them."""
    return tuple(_figure(one, methods) for one in drawn)


def _figure(one: Mapping[str, Any], methods: Sequence[str]) -> Figure:
    others = [s["label"] for s in one["series"] if s["label"] not in methods]
    order = [*methods, *dict.fromkeys(others)]
    traces = [_trace(s, order.index(s["label"]), len(order), one) for s in one["series"]]
    plot = figure_of(traces, one["x_title"], one["y_title"], is_share=False)
    plot.update_layout(hovermode="closest", showlegend=len(traces) > 1)
    if one["is_log"]:
        plot.update_xaxes(type="log", exponentformat="none")
    if one["ticks"]:
        places = list(range(len(one["ticks"])))
        plot.update_xaxes(
            tickvals=places, ticktext=list(one["ticks"]), range=[-0.6, places[-1] + 0.6]
        )
    if one["level"] is not None:
        draw_level(plot, one["level"])
    reading = " ".join(_read(series) for series in one["series"])
    return Figure(one["name"], one["title"], one["caption"], reading, plot)


def _trace(series: Mapping[str, Any], place: int, many: int, one: Mapping[str, Any]) -> Any:
    colour = RUNS[place % len(RUNS)].light
    y, low, high = (
        np.array([or_nan(value) for value in series[key]]) for key in ("y", "low", "high")
    )
    style: dict[str, Any] = {}
    if len(low):
        # A method with one seed has no interval: its bar has no length.
        above, below = (np.nan_to_num(part) for part in (high - y, y - low))
        style["error_y"] = {
            "type": "data", "symmetric": False, "array": above, "arrayminus": below,
            "thickness": 1.5, "width": 4, "color": colour,
        }  # fmt: skip
    # Methods stand beside each other at each name.
    shift = 0.7 * ((place + 0.5) / many - 0.5) if one["ticks"] else 0.0
    is_curve = len(series["x"]) > 30
    return go.Scatter(
        x=[x + shift for x in series["x"]],
        y=y,
        name=series["label"],
        meta={"role": role_of(place)},
        mode=("lines" if is_curve else "lines+markers") if one["has_lines"] else "markers",
        marker={"size": 8, "symbol": _mark(place), "color": colour},
        line={"width": 2, "dash": _DASHES[place % len(_DASHES)], "color": colour},
        **style,
    )


def _mark(place: int) -> str:
    """Colours come again after eight; the mark then is another one."""
    return _MARKS[(place + place // len(RUNS)) % len(_MARKS)]


def _read(series: Mapping[str, Any]) -> str:
    step = max(1, len(series["x"]) // _MOST_READ)
    points = list(zip(series["x"], series["y"], strict=True))[::step]
    told = ", ".join(f"{number(or_nan(y))} at {number(or_nan(x))}" for x, y in points)
    return f"{series['label']}: {told}."
