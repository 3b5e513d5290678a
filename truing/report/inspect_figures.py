"""Figures of `truing inspect`: the values of its report in, figures out."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from truing.report.colours import SERIES
from truing.report.frame import Figure, draw_level, figure_of, with_interval
from truing.report.numbers import brief, number, percent, signed


def length_figures(values: Mapping[str, Any]) -> tuple[Figure, ...]:
    """Whether the choice follows length."""
    unit, bias = values["unit"], values["bias"]
    figures = (
        _histogram(
            "length_difference",
            "Is the chosen response the longer one?",
            f"length of chosen minus rejected ({unit})",
            "Pairs by length difference. What stands to the right of the line was chosen and is "
            "longer. The outermost bars hold all that lies beyond them.",
            "pairs",
            bias.get("histogram"),
            is_signed=True,
        ),
        _by_difference(bias.get("by_difference", ()), unit),
        _lengths(values["lengths"], unit),
    )
    return tuple(figure for figure in figures if figure is not None)


def score_figures(values: Mapping[str, Any]) -> tuple[Figure, ...]:
    """Scores, their gaps, and what they make of an offset."""
    scores = values["scores"]
    figures = (
        _histogram(
            "scores",
            "Which scores do the responses have?",
            "score",
            "Every response with a score.",
            "responses",
            scores.get("scores", {}).get("histogram"),
        ),
        _histogram(
            "gaps",
            "How far apart are the two of a pair?",
            "score of chosen minus rejected",
            "Pairs by score gap. To the left of the line the scores speak against the choice.",
            "pairs",
            scores.get("gaps", {}).get("histogram"),
            is_signed=True,
        ),
        _offsets(scores.get("offsets", {})),
    )
    return tuple(figure for figure in figures if figure is not None)


def limit_figures(values: Mapping[str, Any]) -> tuple[Figure, ...]:
    """What a limit on the tokens of a row would cost."""
    forecast = values["truncation"]
    if not forecast:
        return ()
    rows = values["counts"]["rows"]
    limits = [str(row["max_length"]) for row in forecast]
    series = (
        ("rows that drop leaves out", "rejected", [row["rows_over"] / rows for row in forecast]),
        (
            "tokens that shortening prompts loses",
            "run",
            [row["prompt_cut_tokens"] for row in forecast],
        ),
        (
            "tokens that cutting responses loses",
            "held_out",
            [row["response_cut_tokens"] for row in forecast],
        ),
    )
    traces = [
        go.Bar(x=limits, y=shares, name=name, meta={"role": role}, marker={"color": _light(role)})
        for name, role, shares in series
    ]
    plot = figure_of(traces, "max_length (tokens)", "share", is_share=True)
    plot.update_xaxes(type="category")
    reading = "; ".join(
        f"{row['max_length']}: {row['rows_over']} rows over, prompts would lose "
        f"{percent(row['prompt_cut_tokens'])} of all tokens, responses "
        f"{percent(row['response_cut_tokens'])}"
        for row in forecast
    )
    return (
        Figure(
            "limits",
            "What would a limit on the length cost?",
            "By policy: `drop` leaves the row out, `keep_end` and `keep_start` shorten its prompt, "
            "`cut` its responses.",
            f"{reading}.",
            plot,
        ),
    )


def margin_figures(margins: Mapping[str, Any]) -> tuple[Figure, ...]:
    """How far the length difference alone moves a pair's margin, in each form of the reward."""
    forms = margins.get("forms", ())
    if not forms:
        return ()
    roles = ("rejected", "chosen", "run", "held_out")
    dashes = ("solid", "dash", "dot", "dashdot")
    traces = [
        go.Scatter(
            x=form["difference"], y=form["margin"], name=form["name"], mode="lines+markers",
            line={"width": 2, "dash": dash, "color": _light(role)}, meta={"role": role},
        )
        for form, role, dash in zip(forms, roles, dashes, strict=False)
    ]  # fmt: skip
    plot = figure_of(
        traces, "length of chosen minus rejected (tokens)", margins["unit"], is_share=False
    )
    draw_level(plot, 0.0)
    reading = "; ".join(
        f"{form['name']}: correlation with the length difference {brief(form['correlation'])}"
        for form in forms
        if form["correlation"] is not None
    )
    figures = (
        Figure(
            "margins",
            "Does length alone move the margin?",
            f"Mean margin of pairs of like length difference ({margins['rows']} rows). "
            f"{margins['what']}",
            f"{reading}.",
            plot,
        ),
        *(_form_figure(form, margins["unit"]) for form in forms),
        _histogram(
            "sequence",
            "How large is the sum over a response?",
            f"sum over the tokens of a response ({margins['unit'].partition('(')[2].rstrip(')')})",
            "Every response of these rows: an estimate of the divergence from the reference over "
            "whole sequences, which is what the summed form compares.",
            "responses",
            margins["sequence"].get("histogram"),
            is_signed=True,
        ),
    )
    return tuple(figure for figure in figures if figure is not None)


def _form_figure(form: Mapping[str, Any], unit: str) -> Figure:
    """One form of the margin with the middle 80 % of the pairs in each bucket."""
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [high - mean for high, mean in zip(form["high"], form["margin"], strict=True)],
        "arrayminus": [mean - low for low, mean in zip(form["low"], form["margin"], strict=True)],
        "thickness": 1.5,
        "width": 6,
        "color": _light("run"),
    }
    trace = go.Scatter(
        x=form["difference"], y=form["margin"], name=form["name"], mode="lines+markers",
        error_y=bars, meta={"role": "run"}, marker={"size": 8, "color": _light("run")},
    )  # fmt: skip
    plot = figure_of([trace], "length of chosen minus rejected (tokens)", unit, is_share=False)
    draw_level(plot, 0.0)
    reading = "; ".join(
        f"{signed(round(difference))} tokens: mean {signed(mean)}, from {signed(low)} to "
        f"{signed(high)}"
        for difference, mean, low, high in zip(
            form["difference"], form["margin"], form["low"], form["high"], strict=True
        )
    )
    return Figure(
        f"margin-{form['name'].partition(' ')[0]}",
        f"The {form['name']}, pair by pair",
        "Mean and the middle 80 % of the pairs of like length difference. Above zero on "
        f"{percent(form['accuracy'])} of all pairs.",
        f"{reading}.",
        plot,
    )


def _light(role: str) -> str:
    return SERIES[role].light


def _histogram(
    name: str,
    title: str,
    axis: str,
    caption: str,
    noun: str,
    bins: Mapping[str, Any] | None,
    *,
    is_signed: bool = False,
) -> Figure | None:
    if not bins or not bins["at"]:
        return None
    bar = go.Bar(
        x=bins["at"], y=bins["counts"], name=noun, meta={"role": "run"},
        marker={"color": _light("run")},
    )  # fmt: skip
    plot = figure_of([bar], axis, noun, is_share=False)
    plot.update_layout(bargap=0.06)
    if len(bins["at"]) <= 12:
        plot.update_xaxes(tickvals=bins["at"])
    if is_signed:
        plot.add_vline(x=0, line={"width": 1, "dash": "dot", "color": _light("before")})
    most = max(range(len(bins["at"])), key=lambda i: bins["counts"][i])
    reading = (
        f"{number(sum(bins['counts']))} {noun}, from {brief(bins['at'][0])} to "
        f"{brief(bins['at'][-1])}; most ({number(bins['counts'][most])}) at "
        f"{brief(bins['at'][most])}."
    )
    return Figure(name, title, caption, reading, plot)


def _by_difference(rows: Sequence[Mapping[str, Any]], unit: str) -> Figure | None:
    if len(rows) < 2:
        return None
    labels = [f"{number(int(r['from']))} to {number(int(r['to']))}" for r in rows]
    trace = with_interval(labels, rows, "longer_wins", "pairs", "run", "circle")
    plot = figure_of([trace], f"lengths differ by ({unit})", "chosen is longer", is_share=True)
    plot.update_xaxes(type="category")
    draw_level(plot, 0.5)
    reading = "; ".join(
        f"{label}: {percent(row['longer_wins'])} of {row['pairs']} pairs"
        for label, row in zip(labels, rows, strict=True)
    )
    return Figure(
        "longer_wins",
        "The longer, the better?",
        "How often the longer response is the chosen one, by how far the lengths differ. One half "
        "means that length says nothing. Bars are 95 % intervals.",
        f"{reading}.",
        plot,
    )


def _lengths(lengths: Mapping[str, Any], unit: str) -> Figure | None:
    roles = {"prompt": "before", "chosen": "chosen", "rejected": "rejected", "response": "run"}
    dashes = {"prompt": "dot", "chosen": "solid", "rejected": "dash", "response": "solid"}
    there = {name: facts for name, facts in lengths.items() if facts}
    if not there:
        return None
    ends = ("min", "p5", "p25", "median", "p75", "p95", "max")
    shares = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
    traces = [
        go.Scatter(
            x=[facts[end] for end in ends], y=shares, name=name, mode="lines+markers",
            line={"width": 2, "dash": dashes[name], "color": _light(roles[name])},
            meta={"role": roles[name]},
        )
        for name, facts in there.items()
    ]  # fmt: skip
    plot = figure_of(traces, f"length ({unit})", "share at most so long", is_share=True)
    plot.update_xaxes(rangemode="tozero")
    reading = "; ".join(
        f"{name}: median {number(facts['median'])}, 95 % at most {number(facts['p95'])}, "
        f"longest {number(facts['max'])}"
        for name, facts in there.items()
    )
    return Figure(
        "lengths",
        "How long are prompts and responses?",
        "Cumulative: how many are at most so long. The curves of chosen and rejected should lie "
        "on each other.",
        f"{reading}.",
        plot,
    )


def _offsets(offsets: Mapping[str, Mapping[str, Any]]) -> Figure | None:
    there = {name: facts for name, facts in offsets.items() if facts.get("count")}
    if not there:
        return None
    names = list(there)
    middle = [facts["median"] for facts in there.values()]
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [facts["p95"] - facts["median"] for facts in there.values()],
        "arrayminus": [facts["median"] - facts["p5"] for facts in there.values()],
        "thickness": 1.5,
        "width": 6,
        "color": _light("run"),
    }
    trace = go.Scatter(
        x=names, y=middle, name="offset", mode="markers", error_y=bars, meta={"role": "run"},
        marker={"size": 10, "color": _light("run")},
    )  # fmt: skip
    plot = figure_of([trace], "scale of odpo(alpha=1)", "offset of a pair", is_share=False)
    plot.update_xaxes(type="category", range=[-0.5, len(names) - 0.5])
    draw_level(plot, 0.0)
    reading = "; ".join(
        f"{name}: median {signed(facts['median'])}, middle 90 % from {signed(facts['p5'])} to "
        f"{signed(facts['p95'])}, negative on {percent(facts['negative'])}, without a value on "
        f"{percent(facts['undefined'])} of the pairs"
        for name, facts in there.items()
    )
    return Figure(
        "offsets",
        "How wide a margin would ODPO ask for?",
        "Median offset of a pair with the middle 90 %, for each scale of the score gap. Below "
        "zero the offset lets the rejected response be the likelier one.",
        f"{reading}.",
        plot,
    )
