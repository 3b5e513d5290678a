"""Jobs on data called and shown."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truing.cli import console
from truing.cli.show_inspection import brief_of, show_report
from truing.errors import ConfigError

if TYPE_CHECKING:
    from truing.core.progress import Progress
    from truing.jobs.convert import Written


def mapping(columns: Sequence[str] | None) -> dict[str, str] | None:
    """`OURS=THEIRS` as a mapping.

    Raises:
        ConfigError: one of them is not of that form.
    """
    for column in columns or ():
        if not all(column.partition("=")):
            raise ConfigError(
                "is not of the form OURS=THEIRS", where=f"--column {column}", fix="prompt=question"
            )
    return dict(column.split("=", 1) for column in columns) if columns else None


def show_inspection(source: str, *, html: Path | None, as_json: bool, **settings: Any) -> int:
    """`truing inspect`; the exit code."""
    from truing.jobs.inspect import inspect, write_html

    console.quiet_libraries()
    report = inspect(source, progress=console.BARS, **settings)
    page = None if html is None else write_html(report, html)
    if as_json:
        console.show_json({**report.to_json(), "page": None if page is None else str(page)})
    else:
        show_report(report)
        if page is not None:
            console.show(str(page))
    return report.exit_code


def show_written(job: "Callable[[Progress], Written]", *, as_json: bool) -> None:
    """`truing convert`, `split` and `subset`."""
    console.quiet_libraries()
    written = job(console.BARS).to_json()
    plain = {name: _plain(value) for name, value in written.items()}
    if as_json:
        console.show_json(plain)
        return
    rows = [(name.replace("_", " "), brief_of(value)) for name, value in plain.items()]
    console.show_table("", ("written", ""), rows)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return (
        {key: _plain(inner) for key, inner in value.items()} if isinstance(value, dict) else value
    )
