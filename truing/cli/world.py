"""The verbs on the embedded world: show, pairs, groups, sample."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from truing.cli.options import AsJson

Output = Annotated[Path, typer.Argument(help="The file to write.")]
Split = Annotated[Literal["train", "tuning", "test"], typer.Option(help="Of the prompts.")]
Kinds = Annotated[
    list[str] | None, typer.Option("--kind", help="notes, advice or story; default: all three.")
]
Count = Annotated[int | None, typer.Option(min=1, help="Only the first so many rows.")]

world = typer.Typer(
    help="The small models inside: what they say, what it is worth, pairs with dials.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@world.command()
def show(
    html: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Models, responses with verdicts, and what the dial of length does."""
    from truing.cli.show_world import show_world

    show_world(html, as_json=as_json)


@world.command()
def pairs(
    output: Output,
    split: Split = "train",
    kind: Kinds = None,
    selection: Annotated[
        Literal["random", "best_vs_worst", "all"], typer.Option(help="Couples of a prompt.")
    ] = "random",
    subset: Annotated[
        Literal["all", "longer", "shorter"], typer.Option(help="Pairs whose chosen one is so.")
    ] = "all",
    length_bias: Annotated[
        float, typer.Option(help="0: labels follow the score; 1: the length.")
    ] = 0.0,
    noise: Annotated[float, typer.Option(help="Share of labels turned round.")] = 0.0,
    temperature: Annotated[float, typer.Option(help="Of the labels; 0: no draw.")] = 0.5,
    count: Count = None,
    seed: Annotated[int, typer.Option(min=0, help="Of couples and labels.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write preference pairs, as `truing train --data` reads them."""
    from truing.cli.show_world import show_pairs

    show_pairs(
        output,
        kind,
        split=split,
        selection=selection,
        subset=subset,
        length_bias=length_bias,
        noise=noise,
        temperature=temperature,
        count=count,
        seed=seed,
        as_json=as_json,
    )


@world.command()
def groups(
    output: Output,
    split: Split = "train",
    kind: Kinds = None,
    count: Count = None,
    as_json: AsJson = False,
) -> None:
    """Write prompts with all their responses and scores, as K-wise rows."""
    from truing.cli.show_world import show_groups

    show_groups(output, kind, split=split, count=count, as_json=as_json)


@world.command()
def sample(
    output: Annotated[Path, typer.Argument(help="Folder for the responses.")],
) -> None:
    """Draw the start's responses anew, as they lie in the package; some ten minutes."""
    from truing.cli.show_world import show_pool

    show_pool(output)


@world.command()
def optimum(
    output: Annotated[Path, typer.Argument(help="New or empty folder.")],
    seed: Annotated[int, typer.Option(min=0, help="Of sampling and training.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train on soft labels and measure how near the known optimum that comes; minutes."""
    from truing.cli.show_world import show_optimum

    show_optimum(output, seed=seed, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Put the verbs on the command."""
    app.add_typer(world, name="world")
