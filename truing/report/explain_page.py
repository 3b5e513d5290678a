"""An objective as a page: its formula, and its loss and slopes over the gap of log-ratios."""

from dataclasses import dataclass

import plotly.graph_objects as go

from truing.report.colours import SERIES
from truing.report.frame import Figure, draw_level, figure_of, figures_json
from truing.report.template import render, script_files


@dataclass(frozen=True)
class Curve:
    """One pair's loss and its derivatives by both sides' log-ratios.

    Args:
        expression: the objective.
        gap: log-ratio of the chosen minus that of the rejected response, nats.
        loss: at each gap.
        chosen: derivative by the chosen side's log-ratio, 1/nats.
        rejected: by the rejected side's.
    """

    expression: str
    gap: tuple[float, ...]
    loss: tuple[float, ...]
    chosen: tuple[float, ...]
    rejected: tuple[float, ...]


def explain_page(curve: Curve, formulas: tuple[str, ...], needs: tuple[str, ...]) -> str:
    """A self-contained page, as HTML."""
    from plotly.offline import get_plotlyjs

    figures = explain_figures(curve) if curve.gap else ()
    return render(
        "explain.html.j2",
        (get_plotlyjs(), *script_files("page.js")),
        expression=curve.expression,
        formulas=formulas,
        needs=needs,
        figures=figures,
        figures_json=figures_json(figures),
    )


def explain_figures(curve: Curve) -> tuple[Figure, ...]:
    """The loss, and the push on both sides."""
    x_title = "log-ratio of chosen minus rejected, nats"
    loss = figure_of([_line(curve.gap, curve.loss, "loss", "run")], x_title, "loss", is_share=False)
    push = figure_of(
        [
            _line(curve.gap, curve.chosen, "chosen", "chosen"),
            _line(curve.gap, curve.rejected, "rejected", "rejected"),
        ],
        x_title,
        "slope, 1/nats",
        is_share=False,
    )
    draw_level(push, 0.0)
    at_start = min(range(len(curve.gap)), key=lambda i: abs(curve.gap[i]))
    reading = (
        f"At a gap of 0 the loss is {curve.loss[at_start]:.4g}, its slope by the chosen side "
        f"{curve.chosen[at_start]:.4g} and by the rejected side {curve.rejected[at_start]:.4g}."
    )
    return (
        Figure(
            "loss", "What does a pair cost?", "Policy equal to reference is at 0.", reading, loss
        ),
        Figure(
            "slopes",
            "How hard is each side pushed?",
            "Below 0 the side's log-probability is raised, above 0 lowered.",
            reading,
            push,
        ),
    )


def _line(x: tuple[float, ...], y: tuple[float, ...], label: str, role: str) -> go.Scatter:
    return go.Scatter(
        x=list(x),
        y=list(y),
        name=label,
        mode="lines",
        meta={"role": role},
        line={"color": SERIES[role].light, "dash": "dash" if role == "rejected" else "solid"},
    )
