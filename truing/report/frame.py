"""The house's frame for figures: what all of them share, and nothing of what they show."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from truing.report.colours import SERIES

ENDS = ("", "_low", "_high")  # a value and its interval, as their names end


@dataclass(frozen=True, eq=False)
class Figure:
    """A plot with its words.

    Args:
        name: unique on the page, fit for an id.
        title: the question.
        caption: how to read it, and what to look out for.
        reading: the figure in numbers, for those who do not see it.
        plot: the plotly figure.
    """

    name: str
    title: str
    caption: str
    reading: str
    plot: go.Figure


def figure_of(traces: Sequence[Any], x_title: str, y_title: str, *, is_share: bool) -> go.Figure:
    """Traces in the house's frame; the page adds the colours of the reader's scheme."""
    plot = go.Figure(traces)
    plot.update_layout(
        template="none",
        margin={"l": 58, "r": 14, "t": 10, "b": 46},
        hovermode="x unified",
        font={"size": 12},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title": {"text": ""}},
        showlegend=sum(trace.showlegend is not False for trace in traces) > 1,
        xaxis={"title": {"text": x_title}, "automargin": True, "zeroline": False},
        yaxis={
            **{"title": {"text": y_title}, "automargin": True, "zeroline": False},
            "exponentformat": "power",
        },
    )
    if is_share:
        plot.update_yaxes(tickformat=".0%")
    return plot


def draw_level(plot: go.Figure, level: float) -> None:
    """A thin line across, to measure by: chance, or no change."""
    plot.add_hline(y=level, line={"width": 1, "dash": "dot", "color": SERIES["before"].light})


def or_nan(value: Any) -> float:
    """A number as it is, anything else (null above all) as NaN."""
    return float(value) if isinstance(value, int | float) else math.nan


def with_interval(
    x: Sequence[Any],
    rows: Sequence[Mapping[str, Any]],
    key: str,
    label: str,
    role: str,
    symbol: str,
) -> Any:
    """Marks with 95 % bars at `key`, `key_low` and `key_high`."""
    value, low, high = (np.array([or_nan(row.get(f"{key}{end}")) for row in rows]) for end in ENDS)
    colour = SERIES[role].light
    bars = {"type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low}
    return go.Scatter(
        x=list(x), y=value, name=label, mode="markers", meta={"role": role},
        marker={"size": 9, "symbol": symbol, "color": colour},
        error_y={**bars, "thickness": 1.5, "width": 5, "color": colour},
    )  # fmt: skip


def figures_json(figures: Sequence[Figure]) -> Markup:
    """What plotly.js draws, as JSON of a page."""
    return script_json([{"name": it.name, **json.loads(str(it.plot.to_json()))} for it in figures])


def script_json(values: Any) -> Markup:
    """Values as JSON that can stand between script tags: nothing in it ends them."""
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
