"""Studies called and shown."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from truing.cli import console


def show_list(*, as_json: bool) -> None:
    """`truing study list`."""
    from truing.studies.kept import described

    found = described()
    if as_json:
        console.show_json(found)
        return
    rows = [
        (one["name"], one["claim"], one["source"], *(str(n) for n in one["cells"].values()))
        for one in found
    ]
    console.show_table(
        "", ("study", "claim", "source", "cells: smoke", "small", "full"), rows, numbers=False
    )
    console.say("next: truing study NAME --scale smoke --output DIR")


def show_verified(folder: Path, *, as_json: bool) -> bool:
    """`truing study verify`; whether every kept result is what its raw numbers say."""
    from truing.studies.kept import verify

    found = verify(folder)
    if as_json:
        console.show_json([one.to_json() for one in found])
    else:
        for one in found:
            for claim, word in one.verdicts:
                console.show(f"{one.name}: {word}: {claim}")
            for fault in one.faults:
                console.complain(f"{one.name}: {fault}")
    return not any(one.faults for one in found)


def show_study(
    name: str,
    *,
    scale: str,
    output: Path,
    ground: Mapping[str, Any],
    part: Mapping[str, Any],
    keep_in: Path | None,
    as_json: bool,
) -> int:
    """`truing study NAME`; not 0 where it was interrupted."""
    from truing.studies.shelf import scale_named, study_named

    # Names are answered before anything of weight is loaded.
    study, known = study_named(name), scale_named(scale)
    from truing.studies.ground import Ground
    from truing.studies.kept import keep
    from truing.studies.runner import Request, run_study

    console.quiet_libraries()
    request = Request(study, known, output, Ground(**ground), **part)
    try:
        result = run_study(request, progress=console.BARS)
    except KeyboardInterrupt:
        console.say(f"interrupted; the same command goes on: truing {' '.join(sys.argv[1:])}")
        return 1
    kept = () if keep_in is None else keep(result.values, keep_in)
    if as_json:
        console.show_json({**result.values, "page": str(result.page)})
        return 0
    for verdict in result.verdicts:
        console.show(f"{verdict.word}: {verdict.text}")
    _show_best(result.values)
    for path in (result.page, *kept):
        console.show(str(path))
    console.say(f"all studies of the folder: {output / 'index.html'}")
    return 0


_COLUMNS = ("score", "win_rate", "kl", "length", "reward_accuracy")


def _show_best(values: Mapping[str, Any]) -> None:
    """Means over seeds, setting by setting, most of them on one screen."""
    groups: dict[tuple[str, str, Any], list[Mapping[str, Any]]] = {}
    for cell in values["cells"]:
        groups.setdefault((cell["method"], cell["arm"], cell["value"]), []).append(cell["numbers"])
    rows = []
    for (method, arm, value), numbers in groups.items():
        means = []
        for column in _COLUMNS:
            known = [n[column] for n in numbers if n.get(column) is not None]
            means.append(f"{sum(known) / len(known):.3g}" if known else "–")
        rows.append((method, arm, "" if value is None else f"{value:g}", *means))
    seeds = len(values["plan"]["seeds"])
    console.show_table(
        f"means over {seeds} seed{'s' if seeds > 1 else ''}, on test prompts",
        ("method", "data", "value", *_COLUMNS),
        rows,
        numbers=False,
    )
