"""What `truing sweep` found, as a table sorted by one measure."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truing.cli import console
from truing.cli.show import configured, recipe_and_rest

if TYPE_CHECKING:
    from truing.jobs.sweep import Line, SweepResult

_BESIDE = ("margin", "drift_chosen", "length")


def show_sweep(
    items: list[str],
    flags: Mapping[str, Any],
    *,
    output: Path,
    sort: str | None,
    jobs: int | None,
    as_json: bool,
) -> int:
    """`truing sweep`; 3 where a run failed."""
    recipe, keys = recipe_and_rest(items)
    base = configured([] if recipe is None else [recipe], flags)
    try:
        with console.ours_alone():
            console.quiet_libraries()
            from truing.jobs.sweep import sweep
            from truing.jobs.sweep_grid import axes_of

            axes = axes_of(keys)
            result = sweep(base, axes, output, sort=sort, jobs=jobs, progress=console.BARS)
    except KeyboardInterrupt:
        console.say(f"go on: the same command again; what is finished lies in {output}")
        raise
    if as_json:
        console.show_json(result.to_json())
    else:
        _show(result)
    return 3 if any(line.fault for line in result.lines) else 0


def _show(result: "SweepResult") -> None:
    keys = list(dict.fromkeys(key for line in result.lines for key in line.settings))
    beside = [
        name
        for name in _BESIDE
        if name != result.measure and any(name in line.numbers for line in result.lines)
    ]
    words = result.measure.replace("_", " ")
    columns = (*keys, words, "95 % interval", *(name.replace("_", " ") for name in beside))
    rows = [_row(line, keys, result.measure, beside) for line in result.lines]
    console.show_table("", columns, rows)
    for line in result.lines:
        if line.fault:
            console.show(f"failed: {line.name}: {line.fault}")
    if result.page is not None:
        console.show(str(result.page))
    if result.best is not None:
        console.say(f"best: {result.output / 'runs' / result.best.name}")


def _row(line: "Line", keys: list[str], measure: str, beside: list[str]) -> tuple[str, ...]:
    settings = [line.settings.get(key, "") for key in keys]
    if line.fault:
        return (*settings, "failed", "", *[""] * len(beside))
    low, high = line.numbers.get(f"{measure}_low"), line.numbers.get(f"{measure}_high")
    interval = console.interval(low, high)
    others = [_number(line.numbers.get(name)) for name in beside]
    return (*settings, _number(line.numbers.get(measure)), interval, *others)


def _number(value: Any) -> str:
    return console.number(value) if isinstance(value, int | float) else ""
