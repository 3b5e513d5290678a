"""The verbs on pairs: build, show, stats."""

from pathlib import Path
from typing import Annotated

import typer

from truing.cli.options import AsJson

Built = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of `truing pairs build`.")]

app = typer.Typer(
    help="Make preference pairs: sample responses, score them, select who stands against whom.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def build(
    output: Annotated[Path, typer.Option(help="A folder: new, or one to go on with.")],
    scorer: Annotated[str, typer.Option(help="E.g. \"lexicon(path='words.tsv')\".")],
    select: Annotated[str, typer.Option(help='E.g. "rs_dpo(eta=0.9)".')] = "best_vs_worst()",
    sampler: Annotated[
        str, typer.Option(help='E.g. "generate(num_responses=8)" or "folder(path=\'x\')".')
    ] = "generate()",
    policy: Annotated[str | None, typer.Option(help="Folder or hub name: who responds.")] = None,
    prompts: Annotated[
        str | None, typer.Option(help='A file with a column `prompt`, or "world(rows=500)".')
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="The first so many prompts.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of sampling; default: 0.")] = None,
    shard_rows: Annotated[int, typer.Option(min=1, help="Prompts of a shard.")] = 256,
    keep_cut: Annotated[
        bool, typer.Option("--keep-cut", help="Pairs may hold responses without an end.")
    ] = False,
    retry_faults: Annotated[
        bool, typer.Option("--retry-faults", help="Score shards with faults again.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="So many processes of a Ray cluster.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prompts in, pairs out; a killed build goes on, a repeated one does nothing."""
    from truing.cli.show_pairs import show_build

    show_build(
        output,
        as_json=as_json,
        scorer=scorer,
        select=select,
        sampler=sampler,
        policy=policy,
        prompts=prompts,
        rows=rows,
        seed=seed,
        shard_rows=shard_rows,
        keep_cut=keep_cut,
        retry_faults=retry_faults,
        workers=workers,
    )


@app.command()
def show(
    folder: Built,
    row: Annotated[int, typer.Option(min=1, help="The first prompt to show.")] = 1,
    rows: Annotated[int, typer.Option(min=1, help="How many.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Prompts with all their responses and scores, best first."""
    from truing.cli.show_pairs import show_rows

    show_rows(folder, first=row, rows=rows, as_json=as_json)


@app.command()
def stats(folder: Built, as_json: AsJson = False) -> None:
    """Counts, scores, lengths, faults, cost, and what length does to the scores."""
    from truing.cli.show_pairs import show_stats

    show_stats(folder, as_json=as_json)


def register(parent: typer.Typer) -> None:
    """Put the verbs on the command."""
    parent.add_typer(app, name="pairs")
