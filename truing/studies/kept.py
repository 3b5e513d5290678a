"""Results that are kept beside the docs, and their claims checked again from the raw numbers.

docs/studies/NAME.json   date, machine, command, plan, cost, claims, and every cell's numbers
docs/studies/NAME.md     the same for people
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from truing.errors import ConfigError
from truing.report.numbers import brief, duration
from truing.studies.shelf import shelf, study_named
from truing.studies.table import CellRow, Table
from truing.training import folder

_NEAR = 1e-6  # of a bound that was written with all its digits
_ENDS = ("_low", "_high")
_COLUMNS = ("score", "win_rate", "length_controlled_win_rate", "kl", "length", "reward_accuracy")


@dataclass(frozen=True)
class Checked:
    """What became of one kept result.

    Args:
        name: of the study.
        faults: sentences; none where everything is as it was written.
        verdicts: claim and verdict, judged again from the raw numbers.
    """

    name: str
    faults: tuple[str, ...]
    verdicts: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "study": self.name,
            "faults": list(self.faults),
            "verdicts": [{"claim": claim, "verdict": word} for claim, word in self.verdicts],
        }


def keep(values: Mapping[str, Any], place: Path) -> tuple[Path, Path]:
    """Write a study's results where they are kept; the two files."""
    place.mkdir(parents=True, exist_ok=True)
    cells = [
        {**cell, "numbers": {k: v for k, v in cell["numbers"].items() if not k.endswith(_ENDS)}}
        for cell in values["cells"]
    ]
    head = json.dumps({k: v for k, v in values.items() if k != "cells"}, indent=1)
    lines = ",\n  ".join(json.dumps(cell, ensure_ascii=False) for cell in cells)
    text = f'{head[:-2]},\n "cells": [\n  {lines}\n ]\n}}\n'
    found = place / f"{values['name']}.json", place / f"{values['name']}.md"
    folder.write_atomically(found[0], text)
    folder.write_atomically(found[1], as_markdown(values))
    return found


def verify(place: Path) -> list[Checked]:
    """Judge every kept result again from its raw numbers.

    Raises:
        ConfigError: there is no kept result, or one of a study that there is not.
    """
    paths = sorted(place.glob("*.json"))
    if not paths:
        raise ConfigError(
            "holds no kept results", where=str(place), fix="truing study NAME --keep docs/studies"
        )
    return [check(json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def check(values: Mapping[str, Any]) -> Checked:
    """One kept result: its cells counted, its claims judged from their numbers and compared."""
    study = study_named(values["name"])
    rows = tuple(
        CellRow(
            cell["method"],
            cell["value"],
            cell["arm"],
            cell["seed"],
            cell["numbers"],
            cell["fault"],
            objective=cell["objective"],
        )
        for cell in values["cells"]
    )
    table = Table(rows, tuned_by=values["tuned_by"])
    again = [claim.judge(table) for claim in study.claims]
    faults = _differences(values["claims"], [one.to_json() for one in again])
    declared = {(one.method, one.value, one.arm) for one in study.plans[values["scale"]].settings}
    measured = {(row.method, row.value, row.arm) for row in rows}
    if measured - declared:
        faults.append(f"{len(measured - declared)} settings are no longer declared")
    if declared - measured and not values["is_part"]:
        faults.append(f"{len(declared - measured)} declared settings were not measured")
    return Checked(study.name, tuple(faults), tuple((one.text, one.word) for one in again))


def _differences(
    told: Sequence[Mapping[str, Any]], again: Sequence[Mapping[str, Any]]
) -> list[str]:
    faults = []
    by_text = {one["claim"]: one for one in again}
    for one in told:
        other = by_text.get(one["claim"])
        if other is None:
            faults.append(f"is no longer a claim: {one['claim']}")
        elif other["verdict"] != one["verdict"]:
            faults.append(f"was “{one['verdict']}”, is “{other['verdict']}”: {one['claim']}")
        elif not all(map(_alike, one["parts"], other["parts"])):
            faults.append(f"has other numbers: {one['claim']}")
    missing = by_text.keys() - {one["claim"] for one in told}
    return [*faults, *(f"was not judged: {text}" for text in sorted(missing))]


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(
        one[key] == other[key]
        if one[key] is None or other[key] is None
        else math.isclose(one[key], other[key], rel_tol=_NEAR, abs_tol=_NEAR)
        for key in ("mean", "low", "high", "above")
    )


# ------------------------------------------------------------------ for people


def as_markdown(values: Mapping[str, Any]) -> str:
    """A page of words and two tables."""
    paper, machine, cost = values["paper"], values["machine"], values["cost"]
    lines = [
        f"# {values['name']}: {values['claim']}",
        "",
        f"{paper['title']} ({paper['source']}). {paper['figure']} *{paper['certainty']}.*",
        "",
        f"Scale `{values['scale']}` on {values['ground']['data']}, {values['date']}, "
        f"{machine['cores']} cores, {machine['system']}: {cost['cells']} cells of "
        f"{brief(cost['mean_cell_cpu_seconds'])} s of one core each, "
        f"{duration(cost['cell_cpu_seconds'])} in all.",
        "",
        f"    {values['command']}",
        "",
        "| claim | verdict | by what |",
        "| --- | --- | --- |",
        *(
            f"| {one['claim']} | **{one['verdict']}** | {'; '.join(map(_part, one['parts']))} |"
            for one in values["claims"]
        ),
        "",
        f"Tuning: {values['budget']}",
        "",
        "Means over seeds of every setting, on the test prompts:",
        "",
        *_settings(values["cells"]),
        "",
        *(f"* {limit}" for limit in values["limits"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _part(part: Mapping[str, Any]) -> str:
    if part["mean"] is None:
        return f"{part['words']}: not measured"
    span = "one seed" if part["low"] is None else f"{brief(part['low'])} to {brief(part['high'])}"
    return f"{part['words']}: {brief(part['mean'])} ({span}), must be above {brief(part['above'])}"


def _settings(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    known = [name for name in _COLUMNS if any(name in cell["numbers"] for cell in cells)]
    lines = [
        f"| method | data | value | {' | '.join(known)} |",
        f"| --- | --- | --- | {' | '.join('---' for _ in known)} |",
    ]
    groups: dict[tuple[str, str, float | None], list[Mapping[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((cell["method"], cell["arm"], cell["value"]), []).append(cell)
    for (method, arm, value), some in groups.items():
        means = [_mean([c["numbers"].get(name) for c in some]) for name in known]
        at = "" if value is None else f"{value:g}"
        lines.append(f"| {method} | {arm} | {at} | {' | '.join(means)} |")
    return lines


def _mean(values: Sequence[float | None]) -> str:
    found = [value for value in values if value is not None]
    return brief(sum(found) / len(found)) if found else "–"


def described() -> list[dict[str, Any]]:
    """Every study with its claim, paper and cells at each scale."""
    return [
        {
            "name": study.name,
            "claim": study.claim,
            "paper": study.paper.title,
            "source": study.paper.source,
            "cells": {
                scale: len(plan.settings) * len(plan.seeds) for scale, plan in study.plans.items()
            },
        }
        for study in shelf().values()
    ]
