"""The only file that prints: results to stdout, progress and words to stderr."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from truing.core.progress import Task

T = TypeVar("T")


class _BarTask:
    def __init__(self, bars: Progress, number: Any) -> None:
        self._bars, self._number = bars, number

    def advance(self, done: int = 1, *, note: str = "") -> None:
        """So much more is done."""
        self._bars.update(self._number, advance=done, note=note)


class Bars:
    """Progress bars on stderr, a line each: the time that remains, at the end the time it took."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def task(self, *, total: int | None, description: str) -> "Iterator[Task]":
        """See `truing.core.progress.Progress`."""
        bars = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=12),
            TextColumn("{task.completed}" if total is None else "{task.completed}/{task.total}"),
            *([] if total is None else [TimeRemainingColumn(elapsed_when_finished=True)]),
            TextColumn("[dim]{task.fields[note]}"),
            console=self._console,
        )
        with bars:
            yield _BarTask(bars, bars.add_task(description, total=total, note=""))

    def track(self, items: Iterable[T], *, total: int | None, description: str) -> Iterator[T]:
        """See `truing.core.progress.Progress`."""
        with self.task(total=total, description=description) as task:
            for item in items:
                yield item
                task.advance()

    def note(self, text: str) -> None:
        """See `truing.core.progress.Progress`."""
        self._console.print(escape(text))


OUT = Console(soft_wrap=True, highlight=False)
# What goes into a file or a pipe is searched by lines: a sentence is not cut there.
ERR = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
BARS = Bars(ERR)


def quiet_libraries() -> None:
    """No bars of transformers between ours; call it once heavy imports are wanted anyway."""
    from transformers.utils import logging

    logging.disable_progress_bar()


@contextmanager
def ours_alone() -> Iterator[None]:
    """What libraries print, as trackers do, goes to stderr: stdout is for the result."""
    with redirect_stdout(sys.stderr):
        yield


def say(text: str) -> None:
    """A line for the person at the terminal; never part of the result."""
    ERR.print(escape(text))


def show(text: str) -> None:
    """A line of the result."""
    OUT.print(escape(text))


def show_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """The result as one JSON value and nothing else."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: bool = True,
) -> None:
    """A table of the result; the first column is text, the others are numbers unless said.

    Into a pipe or a file it goes as lines of cells with tabs between, for programs to read.
    """
    if not OUT.is_terminal:
        for cells in (columns, *rows):
            show_line("\t".join(" ".join(cell.split()) for cell in cells))
        return
    table = Table(title=title or None, title_justify="left")
    for index, column in enumerate(columns):
        justify = "right" if numbers and index else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    OUT.print(table)


def number(value: float) -> str:
    """Three decimals, or for what would be nothing then the first two digits that say something."""
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.2g}"


def interval(low: float | None, high: float | None) -> str:
    """Both ends, or nothing where there are none."""
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"


def show_line(text: str) -> None:
    """A line of the result as it is, for a program to read."""
    sys.stdout.write(text + "\n")


def show_piece(text: str) -> None:
    """A piece of running text, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def show_heading(text: str) -> None:
    """Who speaks next."""
    OUT.print(f"[bold]{escape(text)}:[/]")


def show_beside(texts: Mapping[str, Iterator[str]]) -> None:
    """Running texts in columns, a piece of each in turn, as they come."""
    said = dict.fromkeys(texts, "")
    left = dict(texts)
    with Live(_columns(said), console=OUT, transient=True, refresh_per_second=12) as live:
        while left:
            for name in list(left):
                piece = next(left[name], None)
                if piece is None:
                    del left[name]
                else:
                    said[name] += piece
            live.update(_columns(said))
    # The moving picture shows what fits on the screen; this is the whole text.
    OUT.print(_columns(said), soft_wrap=False)


def _columns(said: Mapping[str, str]) -> Table:
    table = Table(expand=True)
    for name in said:
        table.add_column(escape(name), ratio=1, overflow="fold")
    table.add_row(*map(escape, said.values()))
    return table


def read_line(question: str) -> str:
    """A line that the person writes; empty at the end of the input."""
    ERR.print(f"[bold]{escape(question)}[/]", end="")
    return sys.stdin.readline().strip()


def complain(text: str) -> None:
    """An error, in one sentence and its remedy."""
    ERR.print(f"[bold red]error:[/] {escape(text)}")
