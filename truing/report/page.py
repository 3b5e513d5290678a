"""A run folder as one page: `report.html`, self-contained, readable without network."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from truing.report.cards import cards, curve_cards, flattened
from truing.report.collect import Curves, Run, Sample, collect
from truing.report.data_words import in_words
from truing.report.figures import curve_figures
from truing.report.frame import Figure, figures_json
from truing.report.held_out import evaluation_figures, sample_figures
from truing.report.numbers import duration, number
from truing.report.rounds import round_figures
from truing.report.template import render, script_files

NAME = "report.html"
MOST_SAMPLES = 500


def write_report(run: Path) -> Path:
    """Read a run folder, write `report.html` into it, and give its path.

    The page is written aside and renamed: there is the old one or the new one, never half a page.

    Raises:
        ConfigError: the folder holds nothing of a run.
    """
    page = run_page(collect(run))
    aside = run / f".{NAME}.writing"
    aside.write_text(page, encoding="utf-8")
    return aside.replace(run / NAME)


def run_page(run: Run) -> str:
    """The page of a run, as HTML."""
    from plotly.offline import get_plotlyjs

    evaluation = flattened(run.evaluation)
    shown = cards(evaluation) or curve_cards(run.training)
    groups = _groups(run, evaluation)
    later = _later(run.evaluated)
    figures = [figure for part in (*groups, *later) for figure in part.figures]
    samples = run.samples[:MOST_SAMPLES]
    return render(
        "run.html.j2",
        (get_plotlyjs(), *script_files("pager.js", "page.js")),
        name=run.folder.resolve().name,
        objective=run.config.get("objective"),
        key_facts=_key_facts(run),
        parts=_parts(run, groups),
        alarms=run.alarms,
        lead=_lead(run, evaluation),
        cards=shown,
        has_before=any(card.before for card in shown),
        numbers=_numbers(evaluation),
        later=later,
        groups=groups,
        samples=samples,
        samples_left_out=max(0, len(run.samples) - MOST_SAMPLES),
        kinds=_kinds(samples),
        orders=_orders(samples),
        data=in_words(run.data),
        config=run.config,
        config_text=run.config_text,
        made_with=run.made_with,
        commands=_commands(run),
        missing=run.missing,
        figures_json=figures_json(figures),
    )


# ------------------------------------------------------------------ head and foot


@dataclass(frozen=True)
class _Fact:
    name: str
    value: str


def _key_facts(run: Run) -> list[_Fact]:
    training = run.training
    found = {
        "model": _short(run.config.get("model")),
        "data": _short(run.config.get("data")),
        "learning rate": run.config.get("learning_rate"),
        "epochs": run.config.get("epochs"),
        "rows a step": run.config.get("pairs_per_step"),
        "seed": run.config.get("seed"),
        "steps": number(training.step[-1]) if len(training) else None,
        "tokens": _total(training, "tokens", number),
        "training time": _total(training, "seconds", duration),
    }
    status = _Fact("state", "finished" if run.is_finished else "not finished")
    return [status, *(_Fact(name, str(v)) for name, v in found.items() if v not in (None, ""))]


def _short(value: Any) -> str:
    """The last part of a path; the whole one stands in the configuration."""
    many = value if isinstance(value, list) else [value]
    return ", ".join(Path(str(one)).name for one in many if one is not None)


def _total(curves: Curves, name: str, say: Any) -> str | None:
    column = curves.values.get(name)
    return None if column is None else say(float(np.nansum(column)))


def _lead(run: Run, evaluation: Mapping[str, Any]) -> str:
    pairs, responses = evaluation.get("pairs"), evaluation.get("responses")
    counts = [
        f"{number(count)} {noun}"
        for count, noun in ((pairs, "held-out pairs"), (responses, "responses to held-out prompts"))
        if isinstance(count, int | float)
    ]
    if counts:
        return f"Measured on {' and '.join(counts)}; intervals are 95 % bootstrap intervals."
    if len(run.training):
        return (
            "There was no held-out evaluation: these are numbers of the training rows, early "
            "and late. They say that something was learned, not that it is good."
        )
    return "This folder holds neither curves nor an evaluation yet."


@dataclass(frozen=True)
class _Command:
    words: str
    text: str


def _commands(run: Run) -> list[_Command]:
    folder = shlex.quote(str(run.config.get("output") or run.folder))
    go_on = (
        [] if run.is_finished else [("Go on where it stopped", f"truing train --resume {folder}")]
    )
    return [
        _Command(words, text)
        for words, text in (
            *go_on,
            ("Run it again", f"truing train {folder}/run.yaml output=AGAIN"),
            ("Evaluate it on other pairs", f"truing evaluate {folder} --data PAIRS.jsonl"),
        )
    ]


# ------------------------------------------------------------------ parts


@dataclass(frozen=True)
class _Group:
    id: str
    title: str
    lead: str
    figures: tuple[Figure, ...]


def _groups(run: Run, evaluation: Mapping[str, Any]) -> list[_Group]:
    return [
        _Group(
            "rounds",
            "Rounds",
            "Each round is a training of its own that begins where the last one ended; all are "
            "asked the same prompts with the same noise.",
            round_figures(run.rounds),
        ),
        _Group(
            "curves",
            "Training",
            "Pale lines are single steps, strong ones their smooth course; diamonds are "
            "evaluations on held-out rows. Drag over a plot to look closer, double-click to "
            "return.",
            curve_figures(run.training, run.evaluations),
        ),
        _Group(
            "held-out",
            "Held-out rows",
            "What was learned, taken apart: is it quality, or something that goes with it?",
            (*evaluation_figures(evaluation), *sample_figures(run.samples)),
        ),
    ]


def _parts(run: Run, groups: Iterable[_Group]) -> list[tuple[str, str]]:
    """Links of the navigation: what is on this page."""
    return [
        *([("alarms", "Alarms")] if run.alarms else []),
        ("summary", "Summary"),
        *((group.id, group.title) for group in groups if group.figures),
        *([("evaluated", "Evaluated later")] if _later(run.evaluated) else []),
        *([("samples", "Before and after")] if run.samples else []),
        ("data", "Data"),
        ("configuration", "Configuration"),
        ("again", "Once more"),
    ]


@dataclass(frozen=True)
class _Later:
    """What `truing evaluate` found after training."""

    title: str
    lead: str
    rows: list["_Number"]
    notes: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()


def _later(evaluated: Mapping[str, Any]) -> list[_Later]:
    found: list[_Later] = []
    if evaluated.get("data"):
        kind = "Texts" if "texts" in evaluated else "Pairs"
        lead = f"{kind} of {evaluated['data']}; intervals are 95 % bootstrap intervals."
        # The same figures may stand above, of the rows that were scored during training.
        figures = tuple(
            replace(figure, name=f"later-{figure.name}") for figure in evaluation_figures(evaluated)
        )
        found.append(_Later(f"Held-out {kind.lower()}", lead, _numbers(evaluated), (), figures))
    said = evaluated.get("generations")
    if isinstance(said, Mapping):
        lead = (
            f"Prompts: {said.get('prompts')} of {said.get('source')}, against "
            f"{said.get('baseline')}; score: {said.get('score_by') or 'none'}."
        )
        notes = tuple(map(str, said.get("notes") or ()))
        found.append(_Later("Responses to prompts", lead, _numbers(said), notes))
    tasks = evaluated.get("tasks")
    if isinstance(tasks, list):
        rows = [_task(line) for line in tasks if isinstance(line, Mapping)]
        found.append(
            _Later("Public tasks", "By lm-evaluation-harness; ± one standard error.", rows)
        )
    return found


def _task(line: Mapping[str, Any]) -> "_Number":
    value, error = line.get("value"), line.get("standard_error")
    return _Number(
        f"{line.get('task')}: {line.get('metric')}",
        number(value) if isinstance(value, int | float) else "–",
        f"± {number(error)}" if isinstance(error, int | float) else "",
    )


@dataclass(frozen=True)
class _Number:
    name: str
    value: str
    interval: str


def _numbers(evaluation: Mapping[str, Any]) -> list[_Number]:
    """Every number of the evaluation with its interval, in the order of the file."""
    plain = {
        name: value
        for name, value in evaluation.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    found: list[_Number] = []
    for name, value in plain.items():
        if name.removesuffix("_low") in plain and name.endswith("_low"):
            continue
        if name.removesuffix("_high") in plain and name.endswith("_high"):
            continue
        low, high = plain.get(f"{name}_low"), plain.get(f"{name}_high")
        interval = "" if low is None or high is None else f"{number(low)} to {number(high)}"
        found.append(_Number(name, number(value), interval))
    return found


# ------------------------------------------------------------------ samples


def _kinds(samples: Iterable[Sample]) -> list[tuple[str, str]]:
    has_gain, has_length = _has(samples)
    return [
        ("all", "all"),
        *([("better", "better score"), ("worse", "worse score")] if has_gain else []),
        *([("longer", "longer"), ("shorter", "shorter")] if has_length else []),
    ]


def _orders(samples: Iterable[Sample]) -> list[tuple[str, str]]:
    has_gain, has_length = _has(samples)
    return [
        ("file", "as sampled"),
        *([("gain", "most gained"), ("loss", "most lost")] if has_gain else []),
        *([("longer", "most lengthened")] if has_length else []),
    ]


def _has(samples: Iterable[Sample]) -> tuple[bool, bool]:
    """Whether any sample has scores, and whether any has lengths, on both sides."""
    known = [(s.gain is not None, s.longer is not None) for s in samples]
    return any(gain for gain, _ in known), any(length for _, length in known)
