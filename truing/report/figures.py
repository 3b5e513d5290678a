"""Curves in, figures out: each asks one question of a run. Pure functions; plotly, no files.

A trace names its role in `meta` ("chosen", "held_out" ...): the page gives it the colour that
the role has in the reader's scheme. What stands in a figure by itself are the light colours.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from truing.report.collect import Curves
from truing.report.colours import SERIES
from truing.report.frame import Figure, draw_level, figure_of
from truing.report.numbers import brief, number, percent
from truing.report.smoothing import smooth, thin_evenly, thin_keeping_extremes


@dataclass(frozen=True)
class Line:
    """One curve: its key in the lines of training, and in those of the held-out evaluation."""

    label: str
    role: str
    training: str = ""
    held_out: str = ""
    dash: str = "solid"


@dataclass(frozen=True)
class Question:
    """What a figure of curves asks, and of which numbers."""

    name: str
    title: str
    unit: str
    caption: str
    lines: tuple[Line, ...]
    level: float | None = None
    """A line to measure by: chance, or no change."""
    is_share: bool = False
    is_wide: bool = False
    """Values over several powers of ten: a logarithmic axis, smoothed on it."""
    is_exact: bool = False
    """Not noisy: never smoothed."""


def _both(training: str, held_out: str = "") -> tuple[Line, Line]:
    """Chosen and rejected under the same kind of key."""
    chosen, rejected = (held_out and f"{held_out}_{side}" for side in ("chosen", "rejected"))
    return (
        Line("chosen", "chosen", f"{training}/chosen", chosen),
        Line("rejected", "rejected", f"{training}/rejected", rejected, dash="dash"),
    )


def _to_each(number: str, role: str) -> tuple[Line, Line]:
    """How far a reference is: KL where it is known token by token, and the distance."""
    name, words = (f"reference_{number}", f"reference {number}, ") if number else ("reference", "")
    return (
        Line(f"{words}KL at least", role, f"{name}/kl"),
        Line(f"{words}mean |log-ratio|", role, f"{name}/distance", dash="dot"),
    )


_FEW_STEPS = 10

QUESTIONS = (
    Question(
        "loss",
        "Does the loss fall?",
        "loss (nats)",
        "Training loss of each optimizer step. A flat curve asks for more steps or a higher "
        "learning rate; one that falls on training rows alone is memory.",
        (Line("training", "run", "loss"), Line("held out", "held_out", held_out="log_loss")),
    ),
    Question(
        "accuracy",
        "How often does the chosen response have the higher reward?",
        "share of pairs",
        "One half is chance. At the very first step rewards are equal up to rounding, so the share "
        "says nothing yet.",
        (
            Line("training", "run", "rewards/accuracies"),
            Line("held out", "held_out", held_out="reward_accuracy"),
            Line("held out, without reference", "before", held_out="policy_accuracy", dash="dot"),
        ),
        level=0.5,
        is_share=True,
    ),
    Question(
        "rewards",
        "Do the rewards of chosen and rejected part?",
        "reward",
        "The reward is the scaled log-ratio of the objective. The two should part; if both fall, "
        "look at the drift of the log-probs.",
        _both("rewards", "reward"),
        level=0.0,
    ),
    Question(
        "margins",
        "How far apart are they?",
        "reward margin",
        "Chosen minus rejected, mean over pairs.",
        (
            Line("training", "run", "rewards/margins"),
            Line("held out", "held_out", held_out="margin"),
        ),
        level=0.0,
    ),
    Question(
        "drift",
        "Does the chosen response itself become likelier?",
        "log-ratio (nats)",
        "Log-ratio to the reference, summed over a response. Below zero the policy says it less "
        "often than the reference did. A margin can grow while both sides fall: the likelihood of "
        "the chosen response is displaced.",
        _both("logps_drift", "drift"),
        level=0.0,
    ),
    Question(
        "lengths",
        "Are the chosen responses the longer ones?",
        "tokens per response",
        "Of the pairs that were trained on, the end token counted. Where chosen is longer "
        "throughout, length is part of what is learned.",
        _both("lengths"),
    ),
    Question(
        "kl",
        "How far has the policy gone?",
        "KL (nats)",
        "KL to the reference, summed over the policy's own responses to held-out prompts. The "
        "same score at less KL is the better run.",
        (Line("training", "run", "kl"), Line("held out", "held_out", held_out="kl")),
        level=0.0,
    ),
    Question(
        "references",
        "How far are the references, on the rows that are learned?",
        "nats a token",
        "On the response tokens of each step: the KL of “this token or another one”, which is at "
        "most that of the whole distributions, and the mean absolute log-ratio. A reference that "
        "is far at the first step says how two models differ, not what the pairs prefer.",
        (*_to_each("", "run"), *_to_each("1", "run"), *_to_each("2", "before")),
        level=0.0,
    ),
    Question(
        "gradient",
        "Are the steps steady?",
        "gradient norm",
        "Before clipping. Spikes that come again and again ask for a lower learning rate.",
        (Line("gradient norm", "run", "grad_norm"),),
        is_wide=True,
    ),
    Question(
        "learning_rate",
        "Which learning rate had each step?",
        "learning rate",
        "The schedule as it was run.",
        (Line("learning rate", "run", "learning_rate"),),
        is_exact=True,
    ),
)


def curve_figures(training: Curves, evaluations: Curves) -> tuple[Figure, ...]:
    """The questions that these curves can answer, in the order of the table."""
    figures = (_ask(question, training, evaluations) for question in QUESTIONS)
    return tuple(figure for figure in figures if figure is not None)


def _ask(question: Question, training: Curves, evaluations: Curves) -> Figure | None:
    traces: list[Any] = []
    readings: list[str] = []
    for line in question.lines:
        column = training.values.get(line.training)
        if column is not None:
            traces += _curve(line, training.step, column, question)
            readings.append(_in_words(line.label, training.step, column, question))
        held_out = evaluations.values.get(line.held_out)
        if held_out is not None:
            label = line.label if "held out" in line.label else f"{line.label}, held out"
            traces.append(_points(line, label, evaluations, held_out))
            readings.append(_in_words(label, evaluations.step, held_out, question))
    if not traces:
        return None
    plot = figure_of(traces, "optimizer step", question.unit, is_share=question.is_share)
    last = max([0.0, *training.step[-1:], *evaluations.step[-1:]])
    plot.update_xaxes(range=[-0.015 * last, 1.015 * last], rangemode="nonnegative")
    if last <= _FEW_STEPS:
        plot.update_xaxes(dtick=1)  # there is no half a step
    if question.level is not None:
        draw_level(plot, question.level)
    if question.is_wide:
        plot.update_yaxes(type="log", **_decades(traces))
    return Figure(question.name, question.title, question.caption, " ".join(readings), plot)


def _decades(traces: list[Any]) -> dict[str, Any]:
    """Ticks at 1, 2, 5, 10 ..., or at powers of ten alone where there are many."""
    values = np.concatenate([np.asarray(trace["y"], float) for trace in traces])
    values = values[values > 0]
    if not len(values):
        return {}
    low, high = (int(np.floor(np.log10(end))) for end in (values.min(), values.max()))
    steps = (1, 2, 5) if high - low < 3 else (1,)
    ticks = [step * 10.0**power for power in range(low, high + 2) for step in steps]
    return {"tickvals": ticks, "ticktext": [brief(tick) for tick in ticks]}


def _curve(line: Line, step: np.ndarray, values: np.ndarray, question: Question) -> list[Any]:
    """The values as they are, pale, behind their smooth course; a short curve alone."""
    x, y = thin_keeping_extremes(step, values)
    calm = values if question.is_exact else _smooth(values, is_wide=question.is_wide)
    traces: list[Any] = []
    if calm is not values:
        style = {"width": 1, "color": SERIES[line.role].light}
        traces.append(
            go.Scatter(
                x=x, y=y, mode="lines", line=style, opacity=0.28, meta={"role": line.role},
                name=f"{line.label}, each step", showlegend=False, hoverinfo="skip",
            )
        )  # fmt: skip
        x, y = thin_evenly(step, calm)
    traces.append(
        go.Scatter(
            x=x, y=y, name=line.label, meta={"role": line.role},
            mode="lines" if len(x) > 1 else "markers",
            line={"width": 2.25, "dash": line.dash, "color": SERIES[line.role].light},
        )
    )  # fmt: skip
    return traces


def _smooth(values: np.ndarray, *, is_wide: bool) -> np.ndarray:
    """Smoothed on the axis on which it is drawn."""
    if not is_wide or not (values[np.isfinite(values)] > 0).all():
        return smooth(values)
    calm = smooth(np.log(values))
    return values if np.array_equal(calm, np.log(values), equal_nan=True) else np.exp(calm)


def _points(line: Line, label: str, evaluations: Curves, values: np.ndarray) -> Any:
    """Evaluations: a mark each, with its interval where there is one."""
    low, high = (evaluations.values.get(f"{line.held_out}_{end}") for end in ("low", "high"))
    colour = SERIES[line.role].light
    bars = None
    if low is not None and high is not None:
        bars = {"array": high - values, "arrayminus": values - low, "color": colour}
        bars |= {"type": "data", "symmetric": False, "thickness": 1.25, "width": 3}
    return go.Scatter(
        x=evaluations.step, y=values, name=label, error_y=bars, meta={"role": line.role},
        mode="lines+markers",
        line={"width": 1.25, "dash": "dot", "color": colour},
        marker={"size": 8, "symbol": "diamond", "color": colour},
    )  # fmt: skip


def _in_words(label: str, step: np.ndarray, values: np.ndarray, question: Question) -> str:
    known = np.isfinite(values)
    step, values = step[known], values[known]
    say = percent if question.is_share else number
    first, last = (f"{say(values[i])} at step {int(step[i])}" for i in (0, -1))
    if len(values) == 1:
        return f"{label}: {first}."
    extremes = f"lowest {say(values.min())}, highest {say(values.max())}"
    return f"{label}: {first}, {last}; {extremes}."
