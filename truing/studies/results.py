"""What a study found: table, verdicts, page, and the numbers that are kept.

DIR/NAME/results.json   everything plain: cells, claims, plan, machine, cost
DIR/NAME/report.html    the page
DIR/index.html          all studies of the folder
"""

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truing.jobs.made_with import machine, versions
from truing.report.study_page import index_page, study_page
from truing.studies.cell import CellJob
from truing.studies.claims import Verdict, interval
from truing.studies.ground import Ground
from truing.studies.study import Plan, Study
from truing.studies.table import BEST, TUNED_BY, CellRow, Point, Table
from truing.training import folder

if TYPE_CHECKING:
    from truing.studies.runner import Planned, Request

RESULTS, PAGE, INDEX = "results.json", "report.html", "index.html"
_SHOWN = ("score", "win_rate", "length_controlled_win_rate", "kl", "length", "cut", "broken",
          "accurate_notes", "reward_accuracy", "drift_chosen", "tuning_score",
          "tuning_accuracy")  # fmt: skip


@dataclass(frozen=True)
class StudyResult:
    """A study that ended.

    Args:
        values: all of it as plain values; what `results.json` holds.
        page: the report.
        table: the cells.
        verdicts: in the order of the study's claims.
    """

    values: Mapping[str, Any]
    page: Path
    table: Table
    verdicts: tuple[Verdict, ...]


def collected(
    request: "Request",
    planned: Sequence["Planned"],
    left_out: Sequence[str],
    *,
    seconds: float,
    date: str,
) -> StudyResult:
    """Read the cells, judge, write."""
    study, plan = request.study, request.plan
    tuned_by = TUNED_BY if request.ground.scored_by is not None else "tuning_accuracy"
    table = Table(
        tuple(_row(cell.job, cell.setting, cell.seed) for cell in planned), tuned_by=tuned_by
    )
    verdicts = tuple(claim.judge(table) for claim in study.claims)
    unique = {cell.job.key: cell.job for cell in planned}
    values = {
        "name": study.name,
        "claim": study.claim,
        "paper": asdict(study.paper),
        "scale": request.scale,
        "date": date,
        "command": _command(request),
        "machine": {**machine(), "processor": platform.processor() or platform.machine()},
        "versions": versions(),
        "ground": _ground(request.ground),
        "plan": _plan(plan),
        "is_part": request.is_part,
        "budget": budget(table, plan),
        "cost": _cost(list(unique.values()), seconds, request.at_once),
        "tuned_by": tuned_by,
        "limits": [*study.limits, *left_out],
        "claims": [verdict.to_json() for verdict in verdicts],
        "keys": sorted(unique),
        "cells": [row.to_json() for row in table.rows],
    }
    place = request.output / study.name
    place.mkdir(parents=True, exist_ok=True)
    folder.write_json(place / RESULTS, values)
    folder.write_atomically(place / PAGE, study_page(page_values(study, plan, table, values)))
    write_index(request.output)
    return StudyResult(values, place / PAGE, table, verdicts)


def _row(job: CellJob, setting: Any, seed: int) -> CellRow:
    found = json.loads(job.file.read_text(encoding="utf-8"))
    return CellRow(
        setting.method,
        setting.value,
        setting.arm,
        seed,
        {**found["numbers"], **job.data} if not found["fault"] else {},
        found["fault"],
        found.get("curves"),
        tuple(found.get("buckets", ())),
        tuple(found.get("samples", ())),
        setting.objective or f"best of {setting.best_of}",
    )


def _ground(ground: Ground) -> dict[str, Any]:
    if ground.is_world:
        return {"model": "world()", "data": "the embedded world", "score": "its true score"}
    return {"model": str(ground.model), "data": str(ground.data), "score": ground.score or "none"}


def _plan(plan: Plan) -> dict[str, Any]:
    kept = {key: value for key, value in vars(plan).items() if key != "settings"}
    settings = len(plan.settings)
    return {**kept, "seeds": list(plan.seeds), "kinds": list(plan.kinds), "settings": settings}


def _command(request: "Request") -> str:
    words = ["truing", "study", request.study.name, "--scale", request.scale, "--output", "DIR"]
    ground = request.ground
    for flag, value in (("model", ground.model), ("data", ground.data), ("score", ground.score)):
        words += [f"--{flag}", value] if value else []
    words += ["--lora"] if ground.lora else []
    repeated = {
        "seed": map(str, request.seeds or ()),
        "method": request.methods,
        "arm": request.arms,
        "set": (f"{name}={value}" for name, value in request.changes.items()),
    }
    words += [
        word for flag, values in repeated.items() for v in values for word in (f"--{flag}", v)
    ]
    return shlex.join(words)


def budget(table: Table, plan: Plan) -> str:
    """How methods were tuned, in sentences."""
    counts = {
        (method, arm): len(table.values(method, arm))
        for arm in table.arms()
        for method in table.methods(arm)
    }
    by_count: dict[int, list[str]] = {}
    for (method, arm), count in counts.items():
        by_count.setdefault(count, []).append(f"“{method}”" + (f" ({arm})" if arm else ""))
    told = "; ".join(
        f"{max(count, 1)} value{'s' if count > 1 else ''} each for {', '.join(names)}"
        for count, names in sorted(by_count.items(), reverse=True)
    )
    by = "mean score" if table.tuned_by == TUNED_BY else "accuracy on pairs"
    return (
        f"{told}. Every value is trained with every seed; the one with the best {by} on "
        f"{plan.tuning_prompts} tuning prompts, mean over seeds, is a method's best. What is "
        f"reported of it is measured on {plan.test_prompts} other prompts."
    )


def _cost(jobs: Sequence[CellJob], seconds: float, at_once: int) -> dict[str, float]:
    numbers = [json.loads(job.file.read_text(encoding="utf-8"))["numbers"] for job in jobs]
    clock, processor = (
        sum(one.get(name, 0.0) for one in numbers) for name in ("seconds", "cpu_seconds")
    )
    return {
        "cells": len(jobs),
        "cell_seconds": round(clock, 1),
        "cell_cpu_seconds": round(processor, 1),
        "mean_cell_cpu_seconds": round(processor / max(len(jobs), 1), 1),
        "at_once": at_once,
        "this_call_seconds": round(seconds, 1),
    }


# ------------------------------------------------------------------ pages


def page_values(
    study: Study, plan: Plan, table: Table, values: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that the page shows, plain."""
    drawn = [one for plot in study.plots for one in plot.draw(table, study.knob)]
    if study.drawn is not None and values["ground"]["model"] == "world()":
        drawn += list(study.drawn(plan))
    return {
        **values,
        "figures": [one.to_json() for one in drawn],
        "best": _best_rows(table),
        "samples": _samples(table, study.shown),
        "knob": study.knob,
    }


def _best_rows(table: Table) -> list[dict[str, Any]]:
    """A line a method and arm, at its best value; each measure with its interval over seeds."""
    lines = []
    for arm in table.arms():
        for method in table.methods(arm):
            point = Point(method, BEST, arm)
            rows = table.at(point)
            if not rows:
                rows = [r for r in table.rows if (r.method, r.arm) == (method, arm)]
            cells = {}
            for name in _SHOWN:
                found = interval(list(table.numbers(point, name).values()))
                if found.seeds:
                    cells[name] = found.to_json()
            faults = sum(bool(r.fault) for r in table.rows if (r.method, r.arm) == (method, arm))
            lines.append(
                {
                    "method": method,
                    "arm": arm,
                    "objective": rows[0].objective,
                    "value": rows[0].value,
                    "stopped": faults,
                    "cells": cells,
                }
            )
    return lines


def _samples(table: Table, shown: Sequence[Point]) -> list[dict[str, Any]]:
    """What each method at its best says to a few test prompts, first arm and first seed."""
    arm = table.arms()[0]
    points = [Point(method, BEST, arm) for method in table.methods(arm)]
    rows = [row for point in (*points, *shown) for row in table.at(point)[:1]]
    found: dict[str, dict[str, Any]] = {}
    for row in {(row.method, row.value, row.arm): row for row in rows}.values():
        for sample in row.samples:
            one = found.setdefault(
                sample["prompt"],
                {**{key: sample[key] for key in ("prompt", "start", "score_start")}, "replies": []},
            )
            one["replies"].append({"method": row.method, "value": row.value, **sample})
    return list(found.values())


def write_index(output: Path) -> Path:
    """A page over all studies of a folder."""
    found = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(output.glob(f"*/{RESULTS}"))
    ]
    folder.write_atomically(output / INDEX, index_page(found))
    return output / INDEX
