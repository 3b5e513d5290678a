"""Figures of a run of several rounds: what each of them did."""

from collections.abc import Mapping, Sequence
from typing import Any

from truing.report.frame import ENDS, Figure, draw_level, figure_of, or_nan, with_interval
from truing.report.numbers import number


def round_figures(lines: Sequence[Mapping[str, Any]]) -> tuple[Figure, ...]:
    """Score, win rate, KL and length by round; what there is of them."""
    if not lines:
        return ()
    found = (
        _course(
            lines,
            "score",
            "Is every round better than the one before?",
            "mean score",
            "Mean score of the responses to the prompts of the measure; 0 is the start. Bars are "
            "95 % intervals.",
        ),
        _course(
            lines,
            "win_rate",
            "How often does it beat the start?",
            "win rate against the start",
            "Share of prompts whose response scores above the start's, ties as one half. Below "
            "the line a round has made it worse than the start.",
            level=0.5,
        ),
        _course(
            lines,
            "kl",
            "How far has it gone for that?",
            "KL to the start (nats a response)",
            "Sequence KL to the first round's start, on the policy's own responses.",
        ),
        _course(
            lines,
            "length",
            "Do the responses grow?",
            "tokens per response",
            "Mean length by round, the end token counted; 0 is the start.",
        ),
    )
    return tuple(figure for figure in found if figure is not None)


def _course(
    lines: Sequence[Mapping[str, Any]],
    key: str,
    title: str,
    axis: str,
    caption: str,
    *,
    level: float | None = None,
) -> Figure | None:
    known = [line for line in lines if line.get(key) is not None]
    if not known:
        return None
    if known[0].get(f"{key}_before") is not None:
        start = {f"{key}{end}": known[0].get(f"{key}_before{end}") for end in ENDS}
        known = [{"round": 0, **start}, *known]
    places = [int(line["round"]) for line in known]
    plot = figure_of(
        [with_interval(places, known, key, axis, "run", "circle")],
        "round",
        axis,
        is_share=key == "win_rate",
    )
    plot.update_traces(mode="lines+markers")
    plot.update_xaxes(dtick=1)
    if level is not None:
        draw_level(plot, level)
    reading = "; ".join(
        f"round {place}: {number(or_nan(line[key]))}"
        for place, line in zip(places, known, strict=True)
    )
    return Figure(f"rounds_{key}", title, caption, f"{reading}.", plot)
