"""`truing watch`: a table that is drawn anew while a run goes on."""

import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from truing.cli import console
from truing.jobs.watch import Glance, glance

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 24


def show_watch(run: Path, *, once: bool, every_s: float) -> None:
    """Draw until the run has ended, or once."""
    found = glance(run)
    if once or not console.OUT.is_terminal:
        console.OUT.print(drawn(found))
        return
    with Live(drawn(found), console=console.OUT, auto_refresh=False) as live:
        while not found.is_finished:
            time.sleep(every_s)
            found = glance(run)
            live.update(drawn(found), refresh=True)


def drawn(found: Glance) -> RenderableType:
    """Where the run stands, a line for each metric, its alarms."""
    table = Table(box=None, pad_edge=False)
    table.add_column("metric")
    table.add_column("now", justify="right")
    table.add_column("range", justify="right")
    table.add_column("so far")
    for name, values in found.series.items():
        least, most = min(values), max(values)
        table.add_row(
            escape(name), f"{values[-1]:.4g}", f"{least:.4g} to {most:.4g}", sparkline(values)
        )
    alarms = [Text(f"alarm at {alarm}", style="yellow") for alarm in found.alarms]
    return Group(Text(_headline(found), style="bold"), table, *alarms)


def _headline(found: Glance) -> str:
    of = "" if found.num_steps is None else f" of {found.num_steps}"
    at = "" if found.of_rounds is None else "round {} of {}, ".format(*found.of_rounds)
    parts = [f"{found.run}: {at}step {found.step}{of}"]
    if found.is_finished:
        parts.append("finished")
    elif found.seconds_left is not None:
        parts.append(f"{_spoken(found.seconds_left)} left")
    if found.tokens_per_second is not None:
        parts.append(f"{found.tokens_per_second:,.0f} tokens/s")
    return ", ".join(parts)


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def sparkline(values: Sequence[float], width: int = _WIDTH) -> str:
    """The course of a metric in a few characters, means of equal runs of steps."""
    count = min(width, len(values))
    edges = [round(i * len(values) / count) for i in range(count + 1)]
    means = [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]
    low, span = min(means), max(means) - min(means)
    return "".join(_BARS[int((m - low) / span * (len(_BARS) - 1)) if span else 0] for m in means)
