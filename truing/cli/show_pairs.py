"""What `truing pairs` shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from truing.cli import console


def show_build(output: Path, *, as_json: bool, **given: Any) -> None:
    """`truing pairs build`."""
    from truing.jobs.pairs import build_pairs

    console.quiet_libraries()
    try:
        result = build_pairs(output, progress=console.BARS, **given)
    except KeyboardInterrupt:
        console.say("go on: repeat the command; finished shards are kept")
        raise
    if as_json:
        console.show_json(result.to_json())
        return
    rows = [(name, f"{value:,}") for name, value in result.counts.items() if value]
    rows += [(f"fault: {fault}", f"{number:,}") for fault, number in result.faults.items()]
    rows += [(f"judge: {name}", f"{value:,.6g}") for name, value in result.cost.items() if value]
    rows.append(("rows to train on", f"{result.rows:,}"))
    console.show_table("", ("what", "number"), rows)
    cut, whole = result.counts["cut responses"], result.counts["responses"]
    if 2 * cut > whole and not given.get("keep_cut"):
        console.say(
            f"note: {cut:,} of {whole:,} responses were cut before their end and stand in no pair; "
            "a larger max_new_tokens lets them end, --keep-cut lets them in"
        )
    if not result.num_new:
        console.say("all shards lay there already")
    if result.rows:
        console.show(str(result.data))
        console.say(f"next: truing train --data {result.data} --model MODEL --output RUN")
    else:
        console.say(f"nothing was selected; see truing pairs stats {output}")


def show_rows(folder: Path, *, first: int, rows: int, as_json: bool) -> None:
    """`truing pairs show`."""
    from truing.jobs.pairs_shown import show_pairs

    found = show_pairs(folder, first=first, rows=rows)
    if as_json:
        console.show_json([row.to_json() for row in found])
        return
    for row in found:
        cells = [
            (
                "none" if score is None else f"{score:.3f}",
                "" if tokens is None else str(tokens),
                text if finished else f"{text} [cut]",
            )
            for score, tokens, finished, text in row.responses
        ]
        console.show(f"row {row.number}: {row.prompt}")
        console.show_table("", ("score", "tokens", "response"), cells, numbers=False)
        for fault in row.faults:
            console.show(f"fault: {fault}")


def show_stats(folder: Path, *, as_json: bool) -> None:
    """`truing pairs stats`."""
    from truing.jobs.pairs_shown import pairs_stats

    found = pairs_stats(folder)
    if as_json:
        console.show_json(found)
        return
    console.show_table("", ("what", "value"), [*_lines(found)], numbers=False)


def _lines(found: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for name, value in found.items():
        if isinstance(value, Mapping):
            lines += _lines(value, f"{before}{name}, ")
        elif value is not None:
            text = (
                f"{value:,.4g}"
                if isinstance(value, float)
                else f"{value:,}"
                if isinstance(value, int)
                else value
            )
            lines.append((f"{before}{name}", text))
    return lines
