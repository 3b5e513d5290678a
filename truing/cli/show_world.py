"""Jobs on the embedded world called and shown."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from truing.cli import console
from truing.world import KINDS


def show_world(html: Path | None, *, as_json: bool) -> None:
    """`truing world show`."""
    from truing.jobs.world import describe_world, write_world_page

    values = describe_world()
    page = None if html is None else write_world_page(html, values)
    if as_json:
        console.show_json({**values, "page": None if page is None else str(page)})
        return
    columns = ("model", *(f"score, {kind}" for kind in KINDS), "parameters", "vocabulary")
    rows = [
        (
            model["name"],
            *(_with_interval(model["speech"][kind]) for kind in KINDS),
            str(model["parameters"]),
            str(model["vocabulary"]),
        )
        for model in values["models"]
    ]
    console.show_table("models, mean score on unseen prompts", columns, rows)
    dial = [
        (f"{row['length_bias']:g}", f"{row['longer_wins']:.3f}", f"{row['follows_score']:.3f}")
        for row in values["dial"]
    ]
    console.show_table("random couples", ("length bias", "longer wins", "better wins"), dial)
    if page is not None:
        console.show(str(page))
    else:
        console.say("next: truing world show --html world.html")


def _with_interval(said: dict[str, Any]) -> str:
    return f"{said['score']:.2f} ({said['score_low']:.2f} to {said['score_high']:.2f})"


def show_pairs(output: Path, kinds: Sequence[str] | None, *, as_json: bool, **dials: Any) -> None:
    """`truing world pairs`."""
    from truing.world.pairs import describe_pairs, pairs, write_rows

    found = pairs(kinds=tuple(kinds or KINDS), **dials)  # pyright: ignore[reportArgumentType]
    write_rows(output, found)
    facts = describe_pairs(found)
    values = {
        "output": str(output),
        "pairs": facts.pairs,
        "longer_wins": facts.longer_wins,
        "follows_score": facts.follows_score,
        "median_gap": facts.gaps[2],
    }
    _show_written(values, as_json=as_json)


def show_groups(output: Path, kinds: Sequence[str] | None, *, as_json: bool, **which: Any) -> None:
    """`truing world groups`."""
    from truing.world.pairs import write_rows
    from truing.world.pool import groups

    found = groups(kinds=tuple(kinds or KINDS), **which)  # pyright: ignore[reportArgumentType]
    written = write_rows(output, found)
    _show_written({"output": str(output), "groups": written}, as_json=as_json)


def _show_written(values: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        console.show_json(values)
        return
    cells = [
        (name.replace("_", " "), f"{value:.3f}" if isinstance(value, float) else str(value))
        for name, value in values.items()
    ]
    console.show_table("", ("written", ""), cells)
    console.say(f'next: truing train --data {values["output"]} --objective "dpo(beta=0.1)" ...')


def show_pool(output: Path) -> None:
    """`truing world sample`."""
    from truing.jobs.world import sample_pool

    console.quiet_libraries()
    for path in sample_pool(output, progress=console.BARS):
        console.show(str(path))


def show_optimum(output: Path, *, seed: int, as_json: bool) -> None:
    """`truing world optimum`."""
    from truing.jobs.world_optimum import approach_optimum

    console.quiet_libraries()
    found = approach_optimum(output, seed=seed, progress=console.BARS)
    if as_json:
        console.show_json({"output": str(output), **asdict(found)})
        return
    console.show_table(
        "DPO with soft labels, on unseen prompts",
        ("policy", "score", "KL to the start, nats a response"),
        (
            ("start", f"{found.start_score:.2f}", "0"),
            ("aim: start * exp(score / b)", f"{found.aim_score:.2f}", f"{found.aim_kl:.2f}"),
            (
                "trained",
                f"{found.policy_score:.2f} "
                f"({found.policy_score_low:.2f} to {found.policy_score_high:.2f})",
                f"{found.policy_kl:.2f}",
            ),
        ),
    )
    console.show(f"{found.share:.0%} of the distance between the scores is closed")
