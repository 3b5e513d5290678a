"""The embedded world as one self-contained page: what is said, what it is worth, how labels go."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from truing.report.colours import SERIES
from truing.report.frame import Figure, draw_level, figure_of, figures_json
from truing.report.numbers import brief, number, percent
from truing.report.template import render, script_files

_LOOKS = (("chosen", "solid"), ("rejected", "dash"), ("held_out", "dot"))


def world_page(values: Mapping[str, Any]) -> str:
    """The page, as HTML.

    Args:
        values: `models`, `samples`, `dial`, `lengths`, `scores` and `gaps`, as
            `truing.jobs.world.describe_world` gives them.
    """
    from plotly.offline import get_plotlyjs

    figures = world_figures(values)
    return render(
        "world.html.j2",
        (get_plotlyjs(), *script_files("page.js")),
        models=[_model(model) for model in values["models"]],
        samples=values["samples"],
        figures=figures,
        figures_json=figures_json(figures),
    )


def world_figures(values: Mapping[str, Any]) -> tuple[Figure, ...]:
    """The dial, and what the start says: scores, lengths, gaps."""
    return (
        _dial(values["dial"]),
        _histograms(
            "scores",
            "How good are the responses?",
            "score",
            "Responses of the start by kind of prompt.",
            values["scores"],
        ),
        _histograms(
            "lengths",
            "How long are they?",
            "words",
            "Responses of the start by kind of prompt, in words; it has 1.3 to 1.8 tokens a word.",
            values["lengths"],
        ),
        _histograms(
            "gaps",
            "How far apart are the two of a pair?",
            "difference of scores",
            "Random couples of responses to one prompt: an offset that grows with the gap has "
            "something to work on.",
            values["gaps"],
        ),
    )


def _dial(rows: Sequence[Mapping[str, Any]]) -> Figure:
    x = [row["length_bias"] for row in rows]
    lines = (("longer_wins", "the longer one wins"), ("follows_score", "the better one wins"))
    traces = [
        _line(x, [row[key] for row in rows], label, role, dash)
        for (key, label), (role, dash) in zip(lines, _LOOKS, strict=False)
    ]
    plot = figure_of(traces, "length_bias", "share of pairs", is_share=True)
    draw_level(plot, 0.5)
    reading = "; ".join(
        f"at {brief(row['length_bias'])}: longer wins {percent(row['longer_wins'])}, "
        f"better wins {percent(row['follows_score'])}"
        for row in rows
    )
    return Figure(
        "dial",
        "What does the dial do?",
        "Labels of random couples: at 0 they follow the score alone, at 1 the length alone.",
        f"{reading}.",
        plot,
    )


def _histograms(
    name: str, title: str, axis: str, caption: str, series: Mapping[str, Mapping[str, Any]]
) -> Figure:
    traces = [
        _line(bins["at"], bins["shares"], kind, role, dash)
        for (kind, bins), (role, dash) in zip(series.items(), _LOOKS, strict=False)
    ]
    reading = "; ".join(
        f"{kind}: mean {brief(bins['mean'])}, 5th and 95th percentile {brief(bins['low'])} and "
        f"{brief(bins['high'])}"
        for kind, bins in series.items()
    )
    plot = figure_of(traces, axis, "share", is_share=True)
    return Figure(name, title, caption, f"{reading}.", plot)


def _line(x: Sequence[float], y: Sequence[float], label: str, role: str, dash: str) -> go.Scatter:
    return go.Scatter(
        x=list(x), y=list(y), name=label, mode="lines+markers", meta={"role": role},
        line={"color": SERIES[role].light, "dash": dash}, marker={"size": 4},
    )  # fmt: skip


def _model(model: Mapping[str, Any]) -> dict[str, Any]:
    cells = [
        {
            "kind": kind,
            "score": brief(said["score"]),
            "interval": f"{brief(said['score_low'])} to {brief(said['score_high'])}",
            "tokens": brief(said["tokens"]),
        }
        for kind, said in model["speech"].items()
    ]
    return {**model, "parameters": number(model["parameters"]), "cells": cells}
