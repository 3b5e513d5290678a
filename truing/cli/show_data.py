"""Jobs on data called and shown."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truing.cli import console
from truing.errors import ConfigError

if TYPE_CHECKING:
    from truing.core.progress import Progress
    from truing.jobs.convert import Written
    from truing.jobs.inspect import InspectReport


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
        _show_report(report)
        if page is not None:
            console.show(str(page))
    return report.exit_code


def _show_report(report: "InspectReport") -> None:
    rows = [(name.replace("_", " "), _brief(value)) for name, value in report.counts.items()]
    if rows:
        console.show_table(report.source, ("rows", "number"), rows)
    lengths = [
        (name, *(_brief(spread.get(key)) for key in ("count", "mean", "median", "max")))
        for name, spread in report.lengths.items()
        if isinstance(spread, dict)
    ]
    if lengths:
        columns = (f"lengths, {report.unit}", "count", "mean", "median", "longest")
        console.show_table("", columns, lengths)
    for finding in report.findings:
        console.show(f"{finding.level}: {finding.what}")
        if finding.fix and finding.level != "note":
            console.show(f"  fix: {finding.fix}")
    console.show(report.verdict_line)


def _brief(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        if "count" in value:
            return str(value["count"])
        return ", ".join(f"{key} {_brief(inner)}" for key, inner in value.items())
    return "" if value is None else str(value)


def show_written(job: "Callable[[Progress], Written]", *, as_json: bool) -> None:
    """`truing convert`, `split` and `subset`."""
    console.quiet_libraries()
    written = job(console.BARS).to_json()
    plain = {name: _plain(value) for name, value in written.items()}
    if as_json:
        console.show_json(plain)
        return
    rows = [(name.replace("_", " "), _brief(value)) for name, value in plain.items()]
    console.show_table("", ("written", ""), rows)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return (
        {key: _plain(inner) for key, inner in value.items()} if isinstance(value, dict) else value
    )
