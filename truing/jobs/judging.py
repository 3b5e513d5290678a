"""Files of a judge's verdicts on models: who wins, with length taken out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from truing.errors import RowError
from truing.evaluation.judgements import Judgements, head_to_head, met, win_rate
from truing.evaluation.length_control import Against, estimated_difficulty, length_controlled
from truing.evaluation.ranking import bradley_terry
from truing.jobs.verdict_rows import Rows, finite, has_column, records

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
    met_each_other = [one.to_json() for one in head_to_head(table).values()]
    return {
        **{"baseline": baseline, "models": models, "ranking": ranking},
        **{"head_to_head": met_each_other, "notes": notes},
    }


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
            f"the difficulty of prompts is estimated from {_ENOUGH} models on, here is "
            f"{len(others)}: length control in the light form"
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
    rows: Rows = list(records(path, _FORM))
    models: dict[str, int] = {}
    prompts: dict[str, int] = {}
    columns: dict[str, list[float]] = {}
    has_lengths = all([has_column(rows, name, _FORM) for name in ("length_first", "length_second")])
    has_difficulty = has_column(rows, "difficulty", _FORM)
    difficulty: dict[int, float] = {}
    for where, row in rows:
        for name in ("prompt", "first", "second"):
            if row.get(name) in (None, ""):
                raise RowError(f"has no `{name}`", where=where, fix=_FORM)
        prompt = prompts.setdefault(str(row["prompt"]), len(prompts))
        values = {"prompt": prompt, "preference": finite(row, "preference", where, _FORM)}
        for name in ("first", "second"):
            values[name] = models.setdefault(str(row[name]), len(models))
        for name in ("length_first", "length_second") if has_lengths else ():
            values[name] = finite(row, name, where, _FORM)
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
        if has_difficulty:
            given = finite(row, "difficulty", where, _FORM)
            if difficulty.setdefault(prompt, given) != given:
                raise RowError(
                    f"`difficulty` is {given:g}, and {difficulty[prompt]:g} in an earlier row of "
                    "this prompt",
                    where=where,
                    fix="a prompt has one difficulty, the same against every model",
                )
    whole = {
        name: np.array(values, dtype=float if name == "preference" else int)
        for name, values in columns.items()
    }
    return Judgements(tuple(models), **whole), difficulty if has_difficulty else None
