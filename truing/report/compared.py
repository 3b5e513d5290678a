"""Several runs beside each other: what was measured of them, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from truing.evaluation.bootstrap import Estimate
from truing.evaluation.frontier import Frontier
from truing.evaluation.judgements import WinRate
from truing.evaluation.ranking import Ranking
from truing.evaluation.significance import Difference
from truing.report.collect import Run


@dataclass(frozen=True)
class Reply:
    """What one run said to a prompt.

    Args:
        text: the response.
        pieces: the text of each token; () where not known.
        log_ratios: log(policy / reference) of each token, nats; () where not measured.
        score: a judge's number.
        tokens: how many, the end token counted.
        finished: whether the end token came before the limit.
    """

    text: str
    pieces: tuple[str, ...]
    log_ratios: tuple[float, ...]
    score: float | None
    tokens: int
    finished: bool


@dataclass(frozen=True)
class Answered:
    """A prompt with what each run said, in the order of the runs."""

    prompt: str
    replies: tuple[Reply, ...]


@dataclass(frozen=True)
class Measured:
    """One measure of all runs.

    Args:
        key: as in the JSON.
        title: for people.
        values: one a run; None where it was not measured.
        is_share: shown as percentages.
        words: what it means, and what not.
    """

    key: str
    title: str
    values: tuple[Estimate | None, ...]
    is_share: bool = False
    words: str = ""


@dataclass(frozen=True)
class Setting:
    """A key of the configuration that is not the same in all runs; values as YAML."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs, what was measured on rows and prompts that they share, and what differs for sure.

    Args:
        names: of the runs, different ones.
        runs: their folders, read.
        measures: in the order in which they are shown.
        differences: between all pairs of runs, corrected as one family.
        frontier: score against KL; None without scores.
        wins: (row, column): the row's win rate against the column's.
        ranking: Bradley-Terry over all of them; None where nothing can be ranked.
        answered: prompts with what each run said.
        asked: how the responses were made; {} without any.
        notes: what to doubt.
    """

    names: tuple[str, ...]
    runs: tuple[Run, ...]
    measures: tuple[Measured, ...]
    differences: tuple[Difference, ...]
    frontier: Frontier | None
    wins: Mapping[tuple[str, str], WinRate]
    ranking: Ranking | None
    answered: tuple[Answered, ...]
    asked: Mapping[str, Any]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; the samples stay in the run folders."""
        runs = []
        for place, (name, run) in enumerate(zip(self.names, self.runs, strict=True)):
            numbers: dict[str, Any] = {"name": name, "folder": str(run.folder)}
            numbers["objective"] = run.config.get("objective")
            for measure in self.measures:
                value = measure.values[place]
                numbers |= {measure.key: None} if value is None else value.to_json(measure.key)
            runs.append(numbers)
        return {
            "runs": runs,
            "differences": [one.to_json() for one in self.differences],
            "head_to_head": [one.to_json() for one in self.wins.values()],
            "ranking": None if self.ranking is None else self.ranking.to_json(),
            "frontier": None if self.frontier is None else self.frontier.to_json(),
            "configuration": {
                setting.key: dict(zip(self.names, setting.values, strict=True))
                for setting in different_settings(self.runs)
            },
            "asked": dict(self.asked),
            "prompts": len(self.answered),
            "notes": list(self.notes),
        }


_NOT_A_SETTING = {"output"}


def different_settings(runs: Sequence[Run]) -> tuple[Setting, ...]:
    """Keys of configuration and versions whose values are not all equal, nested ones with dots."""
    flat = [{**_flat(run.config, ""), **_flat({"made_with": run.made_with}, "")} for run in runs]
    keys = dict.fromkeys(key for one in flat for key in one)
    found = []
    for key in keys:
        values = tuple(_written(one.get(key)) for one in flat)
        if len(set(values)) > 1 and key not in _NOT_A_SETTING:
            found.append(Setting(key, values))
    return tuple(found)


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        is_block = isinstance(value, Mapping) and value
        found |= _flat(value, f"{name}.") if is_block else {name: value}
    return found


def _written(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        value = dict(value)
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()
