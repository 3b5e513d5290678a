"""The verb `study`: a paper's claim run as an experiment; `list` and `verify` are reserved."""

from pathlib import Path
from typing import Annotated

import typer

from truing.cli.exits import INTERRUPTED
from truing.cli.options import AsJson, Lora

_OWN_KEPT = Path("docs/studies")


Name = Annotated[str, typer.Argument(help="A study, or one of: list, verify.")]
Kept = Annotated[Path | None, typer.Argument(help="verify: where the kept results lie.")]
Scale = Annotated[str, typer.Option(help="smoke, small or full.")]
Output = Annotated[Path, typer.Option(help="Folder over all studies; the same takes them up.")]
OwnModel = Annotated[str | None, typer.Option("--model", help="Folder or hub name; with --data.")]
OwnData = Annotated[str | None, typer.Option("--data", help="Pairs of your own; with --model.")]
Score = Annotated[
    str | None, typer.Option(help="What responses are worth: \"lexicon(path='words.tsv')\".")
]
Seeds = Annotated[
    list[int] | None, typer.Option(min=0, help="Instead of the plan's; may be repeated.")
]
Methods = Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")]
Arms = Annotated[list[str] | None, typer.Option(help="Only this data; may be repeated.")]
Changes = Annotated[list[str] | None, typer.Option("--set", help="Of the plan: pairs=200.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Cells at a time.")]
Keep = Annotated[Path | None, typer.Option(help="Write numbers and a page of words here too.")]


def study(
    name: Name,
    folder: Kept = None,
    scale: Scale = "small",
    output: Output = Path("studies"),
    model: OwnModel = None,
    data: OwnData = None,
    score: Score = None,
    lora: Lora = False,
    seed: Seeds = None,
    method: Methods = None,
    arm: Arms = None,
    changes: Changes = None,
    jobs: Jobs = None,
    keep: Keep = None,
    as_json: AsJson = False,
) -> None:
    """A paper's claim as an experiment: its grid trained, measured, judged; one page."""
    from truing.cli import show_studies

    given = (model, data, score, seed, method, arm, changes, jobs, keep)
    if name in {"list", "verify"}:
        if any(given) or lora or (folder is not None and name == "list"):
            raise typer.BadParameter(f"`study {name}` takes only --json", param_hint="study")
        if name == "list":
            show_studies.show_list(as_json=as_json)
        elif not show_studies.show_verified(folder or _OWN_KEPT, as_json=as_json):
            raise typer.Exit(1)
        return
    if folder is not None:
        raise typer.BadParameter("a folder is for `study verify`", param_hint="FOLDER")
    part = {
        "seeds": tuple(seed) if seed else None,
        "methods": tuple(method or ()),
        "arms": tuple(arm or ()),
        "changes": _numbers(changes or []),
        "jobs": jobs,
    }
    ground = {"model": model, "data": data, "score": score, "lora": lora}
    code = show_studies.show_study(
        name, scale=scale, output=output, ground=ground, part=part, keep_in=keep, as_json=as_json
    )
    if code:
        raise typer.Exit(INTERRUPTED)


def _numbers(items: list[str]) -> dict[str, str]:
    parted = [item.partition("=") for item in items]
    for name, equals, value in parted:
        if not (name and equals and value):
            raise typer.BadParameter(
                "write NAME=NUMBER, for instance pairs=200", param_hint="--set"
            )
    return {name: value for name, _, value in parted}


def register(app: typer.Typer) -> None:
    """Put the verb on the command."""
    app.command()(study)
