"""The verbs on references: compute, list, verify, prune."""

from pathlib import Path
from typing import Annotated, Any

import typer

from truing.cli.options import (
    AsJson,
    Data,
    Items,
    Model,
    ObjectiveText,
    SkipBad,
    Strict,
    given,
)

Reference = Annotated[
    str | None, typer.Option(help="For instance \"model(path='other')\"; default: policy_start().")
]

verbs = typer.Typer(
    help="What references say of the data: computed once, stored, used by every run.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@verbs.command()
def compute(
    items: Items = None,
    model: Model = None,
    data: Data = None,
    objective: ObjectiveText = None,
    reference: Reference = None,
    strict: Strict = False,
    skip_bad: SkipBad = None,
    as_json: AsJson = False,
) -> None:
    """Compute what a run will ask its references; the run finds it in the store."""
    from truing.cli.show_references import show_computed

    flags = given(data, model=model, objective=objective, reference=reference)
    show_computed(items or [], flags, _rows(strict=strict, skip_bad=skip_bad), as_json=as_json)


def _rows(*, strict: bool, skip_bad: Path | None) -> dict[str, Any]:
    """What becomes of bad rows, as `truing train` takes it."""
    return {"strict": strict, "skip_bad": skip_bad}


@verbs.command("list")
def list_(as_json: AsJson = False) -> None:
    """What lies in the store: model, numbers, responses, size, last use."""
    from truing.cli.show_references import show_store

    show_store(as_json=as_json)


@verbs.command()
def verify(
    items: Items = None,
    model: Model = None,
    data: Data = None,
    objective: ObjectiveText = None,
    reference: Reference = None,
    strict: Strict = False,
    skip_bad: SkipBad = None,
    rows: Annotated[int, typer.Option(min=1, help="Responses that are computed again.")] = 16,
    as_json: AsJson = False,
) -> None:
    """Check every shard; with a run, compute some of its stored values again and compare.

    Nothing is taken away or stored: exit code 1 where something is wrong, and what mends it.
    """
    from truing.cli.show_references import show_verified

    flags = given(data, model=model, objective=objective, reference=reference)
    options = _rows(strict=strict, skip_bad=skip_bad)
    is_sound = show_verified(items or [], flags, options, rows=rows, as_json=as_json)
    if not is_sound:
        raise typer.Exit(1)


@verbs.command()
def prune(
    older_than: Annotated[
        float | None, typer.Option(min=0, help="Models that no run used for so many days.")
    ] = None,
    max_size: Annotated[
        float | None, typer.Option(min=0, help="MB to keep; models used longest ago go first.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="One model, by the start of its key.")] = None,
    damaged: Annotated[bool, typer.Option("--damaged", help="Shards with a wrong checksum.")] = (
        False
    ),
    everything: Annotated[bool, typer.Option("--all", help="The whole store.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take stored values away; a run that needs them computes them again."""
    from truing.cli.show_references import show_pruned

    show_pruned(
        older_than=older_than,
        max_size=None if max_size is None else int(max_size * 2**20),
        key=key,
        damaged=damaged,
        everything=everything,
        as_json=as_json,
    )


def register(app: typer.Typer) -> None:
    """Put the verbs on the command."""
    app.add_typer(verbs, name="reference")
