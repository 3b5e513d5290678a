"""Reads what a run left in its folder; whatever is missing or damaged is named, never fatal.

n lines of a curve.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml
from jaxtyping import Float

from truing.errors import ConfigError

Array = np.ndarray

# What is told when a file is not there: whoever reads the page knows why a part of it is absent.
FILES = {
    "run.yaml": "the configuration and the versions it was made with",
    "metrics.jsonl": "the curves of training",
    "data.json": "what was read, left out and cut",
    "evaluation.json": "the held-out evaluation (give held-out rows: `evaluation.data`)",
    "samples.jsonl": "responses before and after training",
    "alarms.jsonl": "alarms; either none was raised or none was watched for",
}
_EVALUATION = "eval/"


@dataclass(frozen=True)
class Missing:
    """A file of the run folder that is absent or damaged, and what the page lacks for it."""

    file: str
    what: str
    is_damaged: bool = False


@dataclass(frozen=True, eq=False)
class Curves:
    """Numbers by step; NaN where a line of the file had no such number."""

    step: Float[Array, "n"]
    values: Mapping[str, Float[Array, "n"]]

    def __len__(self) -> int:
        """How many lines (n)."""
        return len(self.step)

    def at(self, name: str, index: int) -> float:
        """One value; NaN where there is none."""
        column = self.values.get(name)
        return math.nan if column is None or not len(column) else float(column[index])


@dataclass(frozen=True)
class Turn:
    """A piece of a conversation; a plain text is one turn without a role."""

    role: str
    text: str


@dataclass(frozen=True)
class Sample:
    """A held-out prompt with the response of the start and that of the trained policy."""

    prompt: tuple[Turn, ...]
    before: str
    after: str
    score_before: float | None = None
    score_after: float | None = None
    tokens_before: int | None = None
    tokens_after: int | None = None

    @property
    def gain(self) -> float | None:
        """Score after less score before, where both are known."""
        if self.score_before is None or self.score_after is None:
            return None
        return round(self.score_after - self.score_before, 6)  # no digits of rounding on the page

    @property
    def longer(self) -> int | None:
        """Tokens after less tokens before, where both are known."""
        if self.tokens_before is None or self.tokens_after is None:
            return None
        return self.tokens_after - self.tokens_before


@dataclass(frozen=True)
class Alarm:
    """Something that the run said about itself, with the remedy."""

    step: int | None
    alarm: str
    what: str
    fix: str


@dataclass(frozen=True, eq=False)
class Run:
    """Everything that a run folder tells."""

    folder: Path
    config: Mapping[str, Any]
    config_text: str
    made_with: Mapping[str, Any]
    training: Curves
    evaluations: Curves
    evaluation: Mapping[str, Any]
    samples: tuple[Sample, ...]
    data: Mapping[str, Any]
    alarms: tuple[Alarm, ...]
    evaluated: Mapping[str, Any]
    """What `truing evaluate` found later: numbers, `generations`, `tasks`."""
    is_finished: bool
    missing: tuple[Missing, ...]
    rounds: tuple[Mapping[str, Any], ...] = ()
    """A line for each round of a run that has several."""


def collect(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        ConfigError: there is no such folder, or nothing of a run in it.
    """
    if not folder.is_dir() or not any((folder / name).exists() for name in FILES):
        raise ConfigError(
            "there is no run here", where=str(folder), fix="give the output folder of a run"
        )
    missing: list[Missing] = []
    config, config_text = _read_yaml(folder, missing)
    made_with = config.pop("made_with", None)
    lines = _read_lines(folder, "metrics.jsonl", missing)
    is_evaluation = [any(key.startswith(_EVALUATION) for key in line) for line in lines]
    return Run(
        folder=folder,
        config=MappingProxyType(config),
        config_text=config_text,
        made_with=MappingProxyType(made_with if isinstance(made_with, dict) else {}),
        training=_curves(line for line, e in zip(lines, is_evaluation, strict=True) if not e),
        evaluations=_curves(
            {key.removeprefix(_EVALUATION): value for key, value in line.items()}
            for line, e in zip(lines, is_evaluation, strict=True)
            if e
        ),
        evaluation=MappingProxyType(_read_object(folder, "evaluation.json", missing)),
        samples=tuple(map(_sample, _read_lines(folder, "samples.jsonl", missing))),
        data=MappingProxyType(_read_object(folder, "data.json", missing)),
        alarms=tuple(map(_alarm, _read_lines(folder, "alarms.jsonl", missing))),
        evaluated=MappingProxyType(_evaluated(folder, missing)),
        is_finished=(folder / "finished.json").exists() or any(folder.glob("*.safetensors")),
        missing=tuple(missing),
        rounds=tuple(_read_lines(folder, "rounds.jsonl", []))
        if (folder / "rounds.jsonl").is_file()
        else (),
    )


# ------------------------------------------------------------------ files


def _read_text(folder: Path, name: str, missing: list[Missing]) -> str | None:
    path = folder / name
    if not path.is_file():
        missing.append(Missing(name, FILES[name]))
        return None
    return path.read_text(encoding="utf-8", errors="replace")


def _read_object(folder: Path, name: str, missing: list[Missing]) -> dict[str, Any]:
    text = _read_text(folder, name, missing)
    if text is None:
        return {}
    try:
        loaded = json.loads(text)
    except json.JSONDecodeError as error:
        missing.append(Missing(name, f"it is no JSON ({error})", is_damaged=True))
        return {}
    if not isinstance(loaded, dict):
        missing.append(Missing(name, "it holds no JSON object", is_damaged=True))
        return {}
    return loaded


def _read_yaml(folder: Path, missing: list[Missing]) -> tuple[dict[str, Any], str]:
    text = _read_text(folder, "run.yaml", missing)
    if text is None:
        return {}, ""
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        missing.append(Missing("run.yaml", f"it is no YAML ({error})", is_damaged=True))
        return {}, text
    if not isinstance(loaded, dict):
        missing.append(Missing("run.yaml", "it holds no keys", is_damaged=True))
        return {}, text
    return {str(key): value for key, value in loaded.items()}, text


def _read_lines(folder: Path, name: str, missing: list[Missing]) -> list[dict[str, Any]]:
    """The JSON objects of a file; lines that are none (a killed run's last one) are counted."""
    text = _read_text(folder, name, missing)
    if text is None:
        return []
    lines = [line for line in text.split("\n") if line.strip()]
    found = [value for value in map(_object_or_none, lines) if value is not None]
    if len(found) < len(lines):
        left_out = f"{len(lines) - len(found)} of {len(lines)} lines are no JSON objects, left out"
        missing.append(Missing(name, left_out, is_damaged=True))
    return found


def _object_or_none(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _evaluated(folder: Path, missing: list[Missing]) -> dict[str, Any]:
    """The numbers below `evaluated/`; that there are none is nothing to tell."""
    place = folder / "evaluated"
    found: dict[str, Any] = {}
    for name in ("evaluation.json", "tasks.json"):
        if (place / name).is_file():
            found |= _read_object(place, name, missing)
    return found


# ------------------------------------------------------------------ values


def _curves(lines: Iterable[Mapping[str, Any]]) -> Curves:
    """A column for every key that holds a number somewhere; without a step, the line's number."""
    table = list(lines)
    # Lines are nearly always alike, so this dict of first appearances stays small.
    names = dict.fromkeys(key for line in table for key in line if key != "step")
    step = [_number(line.get("step")) for line in table]
    steps = np.array([index if s is None else s for index, s in enumerate(step, 1)], dtype=float)
    columns = {name: np.array([_or_nan(line.get(name)) for line in table]) for name in names}
    known = {name: column for name, column in columns.items() if not np.isnan(column).all()}
    order = np.argsort(steps, kind="stable")
    return Curves(
        steps[order], MappingProxyType({name: column[order] for name, column in known.items()})
    )


def _number(value: Any) -> float | None:
    """A finite number, or None (also for True and for text)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _or_nan(value: Any) -> float:
    found = _number(value)
    return math.nan if found is None else found


def _whole(value: Any) -> int | None:
    found = _number(value)
    return None if found is None else int(found)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _turns(value: Any) -> tuple[Turn, ...]:
    """A prompt is a text or a list of messages."""
    if not isinstance(value, list):
        return (Turn("", _text(value)),)
    return tuple(
        Turn(_text(turn.get("role")), _text(turn.get("content")))
        if isinstance(turn, dict)
        else Turn("", _text(turn))
        for turn in value
    )


def _response(value: Any) -> str:
    """A response is a text or a list of messages, of which the texts are joined."""
    return "\n".join(turn.text for turn in _turns(value))


def _sample(line: Mapping[str, Any]) -> Sample:
    return Sample(
        prompt=_turns(line.get("prompt")),
        before=_response(line.get("before")),
        after=_response(line.get("after")),
        score_before=_number(line.get("score_before")),
        score_after=_number(line.get("score_after")),
        tokens_before=_whole(line.get("tokens_before")),
        tokens_after=_whole(line.get("tokens_after")),
    )


def _alarm(line: Mapping[str, Any]) -> Alarm:
    return Alarm(
        step=_whole(line.get("step")),
        alarm=_text(line.get("alarm")),
        what=_text(line.get("what")),
        fix=_text(line.get("fix")),
    )
