"""The verb migrate: another trainer's arguments as a run file."""

from pathlib import Path
from typing import Annotated

import typer


def migrate(
    source: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="YAML or JSON of TRL or LLaMA-Factory.")
    ] = None,
    args: Annotated[
        str | None, typer.Option(help='A command line, e.g. "trl dpo --beta 0.1 ...".')
    ] = None,
    output: Annotated[Path, typer.Option(help="The run file to write.")] = Path("run.yaml"),
    method: Annotated[
        str | None, typer.Option(help="dpo, kto, cpo or orpo, where nothing else tells.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="Processes that each had a batch.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Over the model that is named.")] = None,
    data: Annotated[str | None, typer.Option(help="Over the data that are named.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON value on stdout, nothing else.")
    ] = False,
) -> None:
    """A run file from TRL's or LLaMA-Factory's arguments; names each that has no equal."""
    from truing.cli import console
    from truing.jobs.migrate import migrate as job

    console.quiet_libraries()
    keys = {name: value for name, value in (("model", model), ("data", data)) if value is not None}
    found = job(source, command=args, method=method, devices=devices, keys=keys, output=output)
    if as_json:
        console.show_json({**found.to_json(), "output": str(output)})
    else:
        rows = [(note.kind, note.argument, note.what, note.fix) for note in found.notes]
        columns = ("", f"argument of {found.origin}", "what it is", "what to do")
        console.show_table(f"{len(rows)} arguments need a word", columns, rows, numbers=False)
        console.show(str(output))
    console.say(f"next: read {output}, then truing train {output}")


def register(app: typer.Typer) -> None:
    """Put the verb on the command."""
    app.command()(migrate)
