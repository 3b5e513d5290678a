"""What `truing check` found, on a terminal."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from truing.cli import console
from truing.cli.show import configured
from truing.errors import ConfigError

if TYPE_CHECKING:
    from truing.jobs.check import CheckReport
    from truing.jobs.check_cost import Cost

_UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def show_check(items: list[str], flags: Mapping[str, Any], *, as_json: bool) -> int:
    """`truing check`; the exit code."""
    with console.ours_alone():
        console.quiet_libraries()
        from truing.jobs.check import CheckReport, check

    try:
        values = configured(items, flags)
    except ConfigError as error:
        # A file that cannot be read is a fault like any other.
        report = CheckReport((error,))
    else:
        report = check(values, progress=console.BARS)
    if as_json:
        console.show_json(report.to_json())
    else:
        _show(report)
    return report.exit_code


def _show(report: "CheckReport") -> None:
    rows = list(report.facts.items())
    rows += [("needs" if i == 0 else "", need) for i, need in enumerate(report.needs)]
    if rows:
        console.show_table("", ("the run", ""), rows, numbers=False)
    if report.cost is not None:
        _show_cost(report.cost)
    for note in report.notes:
        console.show(f"note: {note}")
    for fault in report.faults:
        console.show(f"wrong: {fault}")
    number = len(report.faults)
    things = "thing" if number == 1 else "things"
    console.show(f"{number} {things} to mend" if number else "good: the run can start")


def _show_cost(cost: "Cost") -> None:
    parts = [(name, in_bytes(size)) for name, size in cost.memory.items() if size]
    fits = {"yes": "it fits", "hardly": "it hardly fits", "no": "it does not fit"}[cost.fits]
    parts.append(("peak of a step", f"{in_bytes(cost.peak)} of {in_bytes(cost.available)} free"))
    parts.append(("time on this machine", f"about {in_time(cost.seconds)}"))
    console.show_table(f"forecast: {fits}", ("memory", "about"), parts)


def in_bytes(size: int) -> str:
    """A size in the largest unit that leaves a number above one."""
    for unit, word in _UNITS:
        if size >= unit:
            return f"{size / unit:.1f} {word}"
    return f"{size} B"


def in_time(seconds: float) -> str:
    """A time in words."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
