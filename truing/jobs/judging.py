"""Files of a judge's verdicts: who wins with length taken out, and how good the judge is."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from truing.data.files import Record
from truing.data.sources import open_sources
from truing.data.where import refusal
from truing.errors import RowError
from truing.evaluation.judge import Verdicts, judge_quality
from truing.evaluation.judgements import Judgements, met, win_rate
from truing.evaluation.length_control import Against, estimated_difficulty, length_controlled
from truing.evaluation.ranking import bradley_terry
from truing.jobs.scores import score_of

_ENOUGH = 5  # models from which on difficulties of instructions are estimated
_FORM = "write rows with prompt, first, second, preference [, length_first, length_second]"


def judged_models(path: Path, baseline: str | None = None) -> dict[str, Any]:
    """Win rates of all models against one of them, a ranking, and what is estimated in it.

    A row is one look of a judge: `prompt` (text or number), `first` and `second` (models),
    `preference` (chance that the first is better), and for length control `length_first` and
    `length_second`; `difficulty` of the prompt may stand beside them.

    Raises:
        RowError: a row lacks a column or holds what is no number.
        ConfigError: there is no such baseline.
    """
    table, difficulty = _judgements(path)
    baseline = baseline or table.models[0]
    table.index(baseline)
    notes: list[str] = []
    others = _opponents(table, baseline)
    apart = [model for model in table.models if model not in (*others, baseline)]
    if apart:
        notes.append(f"{', '.join(apart)} never stood against {baseline}: no win rate")
    if table.length_first is None:
        notes.append("no length control: the rows have no length_first and length_second")
    elif difficulty is None:
        difficulty, told = _estimated(table, baseline, others)
        notes.append(told)
    models = [_one(table, model, baseline, difficulty) for model in others]
    try:
        ranking: Any = bradley_terry(table, baseline).to_json()
    except RowError as error:
        ranking = None
        notes.append(f"no ranking: {error.what}")
    models.sort(key=lambda one: -one["win_rate"])
    notes += [f"{one['model']}: {note}" for one in models for note in one["notes"]]
    return {"baseline": baseline, "models": models, "ranking": ranking, "notes": notes}


def _opponents(table: Judgements, baseline: str) -> list[str]:
    """The models that stood against the baseline, in the order of the table."""
    at = table.index(baseline)
    seen = {*table.second[table.first == at].tolist(), *table.first[table.second == at].tolist()}
    return [model for place, model in enumerate(table.models) if place in seen]


def _one(
    table: Judgements, model: str, baseline: str, difficulty: Mapping[int, float] | None
) -> dict[str, Any]:
    found = win_rate(table, model, baseline).to_json()
    both = met(table, model, baseline)
    if both.length is None or both.length_other is None:
        return found
    terms = None
    if difficulty is not None:
        terms = np.array([difficulty[int(prompt)] for prompt in both.prompt])
    rows = Against(both.preference, both.length, both.length_other, terms)
    controlled = length_controlled(rows).to_json()
    notes = [*found["notes"], *controlled["notes"]]  # type: ignore[misc]
    return {**found, **controlled, "notes": notes}


def _estimated(
    table: Judgements, baseline: str, others: Sequence[str]
) -> tuple[Mapping[int, float] | None, str]:
    """Difficulty of the prompts from the models' own verdicts, where there are enough of them."""
    if len(others) < _ENOUGH:
        return None, (
            f"{len(others)} models are too few to estimate the difficulty of prompts (from "
            f"{_ENOUGH} on): length control in the light form"
        )
    rows = [(place, met(table, model, baseline)) for place, model in enumerate(others)]
    prompts = np.concatenate([one.prompt for _, one in rows])
    names, instruction = np.unique(prompts, return_inverse=True)
    found = estimated_difficulty(
        np.concatenate([one.preference for _, one in rows]),
        instruction,
        np.concatenate([np.full(len(one.prompt), place) for place, one in rows]),
    )
    told = f"the difficulty of each prompt is estimated from the verdicts on {len(others)} models"
    return dict(zip(names.tolist(), found.tolist(), strict=True)), told


def _judgements(path: Path) -> tuple[Judgements, Mapping[int, float] | None]:
    rows = list(_records(path))
    models: dict[str, int] = {}
    prompts: dict[str, int] = {}
    columns: dict[str, list[float]] = {}
    has_lengths = all([_has(rows, name) for name in ("length_first", "length_second")])
    has_difficulty = _has(rows, "difficulty")
    difficulty: dict[int, float] = {}
    for where, row in rows:
        for name in ("prompt", "first", "second"):
            if row.get(name) in (None, ""):
                raise RowError(f"has no `{name}`", where=where, fix=_FORM)
        prompt = prompts.setdefault(str(row["prompt"]), len(prompts))
        values = {"prompt": prompt, "preference": _float(row, "preference", where)}
        for name in ("first", "second"):
            values[name] = models.setdefault(str(row[name]), len(models))
        for name in ("length_first", "length_second") if has_lengths else ():
            values[name] = _float(row, name, where)
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
        if has_difficulty:
            difficulty[prompt] = _float(row, "difficulty", where)
    whole = {
        name: np.array(values, dtype=float if name == "preference" else int)
        for name, values in columns.items()
    }
    return Judgements(tuple(models), **whole), difficulty if has_difficulty else None


def _has(rows: Sequence[tuple[str, Mapping[str, Any]]], name: str) -> bool:
    """Whether the rows have a column; refused where only some of them do."""
    given = [name in row for _, row in rows]
    if any(given) and not all(given):
        where = rows[given.index(False)][0]
        raise RowError(f"has no `{name}`, which other rows have", where=where, fix=_FORM)
    return all(given)


def _records(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    any_row = False
    for file, _ in open_sources(path):
        for record in file.read():
            if not isinstance(record, Record):
                raise refusal([record])
            if not isinstance(record.value, Mapping):
                raise RowError("is no object with columns", where=str(record.where), fix=_FORM)
            any_row = True
            yield str(record.where), record.value
    if not any_row:
        raise RowError("holds no row", where=str(path), fix=_FORM)


def _float(row: Mapping[str, Any], name: str, where: str) -> float:
    try:
        value = float(row[name])
    except (KeyError, TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise RowError(f"`{name}` is {row.get(name)!r}, which is no number", where=where, fix=_FORM)
    return value


# ------------------------------------------------------------------ how good the judge is

_PAIR_FORM = (
    "write rows with chosen, rejected, and `judge` (its chance for chosen where that stood first) "
    "or `judge_swapped` (where it stood second), or give --score"
)


def judge(path: Path, score: str | None = None) -> dict[str, Any]:
    """A judge against people: its verdicts stand in the file, or are made here by a score.

    Rows are pairs (`prompt`, `chosen`, `rejected`), with `judge` and `judge_swapped` where no
    score is given; `votes` (share of people for chosen) may stand beside them.

    Raises:
        RowError: a column is missing or holds what is no number or text.
    """
    rows = list(_records(path))
    for where, row in rows:
        for side in ("chosen", "rejected"):
            if not isinstance(row.get(side), str):
                raise RowError(f"`{side}` is no text", where=where, fix=_PAIR_FORM)
    orders = _by_score(rows, score) if score is not None else _by_columns(rows)
    has_votes = all(isinstance(row.get("votes"), int | float) for _, row in rows)
    prompts: dict[str, int] = {}
    table = Verdicts(
        np.array([len(row["chosen"]) for _, row in rows]),
        np.array([len(row["rejected"]) for _, row in rows]),
        *orders,
        np.array([row["votes"] for _, row in rows]) if has_votes else None,
        np.array([prompts.setdefault(str(row.get("prompt")), len(prompts)) for _, row in rows]),
    )
    return judge_quality(table).to_json()


Rows = Sequence[tuple[str, Mapping[str, Any]]]


def _by_score(rows: Rows, expression: str) -> tuple[np.ndarray, np.ndarray]:
    """The higher score wins, in either place."""
    score = score_of(expression)
    sides = [
        np.array(score([(str(row.get("prompt", "")), row[side], True) for _, row in rows]))
        for side in ("chosen", "rejected")
    ]
    verdict = 0.5 * (1 + np.sign(sides[0] - sides[1]))
    return verdict, verdict


def _by_columns(rows: Rows) -> tuple[np.ndarray | None, np.ndarray | None]:
    found: list[np.ndarray | None] = []
    for name in ("judge", "judge_swapped"):
        given = [name in row for _, row in rows]
        if any(given) and not all(given):
            where = rows[given.index(False)][0]
            raise RowError(f"has no `{name}`, which other rows have", where=where, fix=_PAIR_FORM)
        values = [_float(row, name, where) for where, row in rows] if all(given) else None
        found.append(None if values is None else np.array(values))
    if all(one is None for one in found):
        raise RowError("there is no verdict", where=rows[0][0], fix=_PAIR_FORM)
    return found[0], found[1]
