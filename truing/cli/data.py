"""The verbs on data: inspect, convert, split, subset."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from truing.cli.options import AsJson

Source = Annotated[str, typer.Argument(metavar="DATA", help="File, folder or data-set name.")]
Model = Annotated[str | None, typer.Option(help="Folder or hub name of a tokenizer, for lengths.")]
Columns = Annotated[
    list[str] | None, typer.Option("--column", help="OURS=THEIRS: a column under another name.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of what is drawn.")]


def inspect(
    source: Source,
    model: Model = None,
    test: Annotated[str | None, typer.Option(help="Held-out rows, to look for overlap.")] = None,
    objective: Annotated[str | None, typer.Option(help="Judge the rows by what it needs.")] = None,
    max_length: Annotated[int | None, typer.Option(min=2, help="Limit to judge by.")] = None,
    loss_turns: Annotated[
        Literal["all", "last"], typer.Option(help="What is learned of several turns.")
    ] = "all",
    margins: Annotated[int, typer.Option(min=0, help="Score so many rows with the model.")] = 0,
    reference: Annotated[
        str | None, typer.Option(help="For margins: a model to take log-ratios to.")
    ] = None,
    column: Columns = None,
    html: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Worth a look is a failure.")] = False,
    as_json: AsJson = False,
) -> None:
    """What is wrong with preference rows, and what length does to them, before training."""
    from truing.cli.show_data import mapping, show_inspection

    code = show_inspection(
        source,
        html=html,
        as_json=as_json,
        model=model,
        test=test,
        objective=objective,
        max_length=max_length,
        loss_turns=loss_turns,
        margins=margins,
        reference=reference,
        columns=mapping(column),
        strict=strict,
    )
    raise typer.Exit(code)


def convert(
    source: Source,
    output: Annotated[Path, typer.Argument(help="The file to write.")],
    to: Annotated[
        Literal["pair", "kwise", "unpaired", "ranking"], typer.Option(help="The layout wanted.")
    ] = "pair",
    conversational: Annotated[
        bool, typer.Option("--conversational", help="Messages instead of text.")
    ] = False,
    pairs: Annotated[
        Literal["all", "best_worst"], typer.Option(help="Which pairs of a K-wise row.")
    ] = "all",
    threshold: Annotated[
        float | None, typer.Option(help="Scores above it are labelled true.")
    ] = None,
    column: Columns = None,
    as_json: AsJson = False,
) -> None:
    """Rows of any layout as one of four."""
    from truing.cli.show_data import mapping, show_written
    from truing.jobs import convert as job

    show_written(
        lambda progress: job.convert(
            source,
            output,
            to=to,
            conversational=conversational,
            pairs=pairs,
            threshold=threshold,
            columns=mapping(column),
            progress=progress,
        ),
        as_json=as_json,
    )


def split(
    source: Source,
    output: Annotated[Path, typer.Argument(help="The folder for train.jsonl and test.jsonl.")],
    test: Annotated[float, typer.Option(min=0, max=1, help="Share of the prompts.")] = 0.1,
    near: Annotated[
        bool, typer.Option("--near", help="Keep nearly equal prompts together.")
    ] = False,
    seed: Seed = 0,
    column: Columns = None,
    as_json: AsJson = False,
) -> None:
    """Train and test rows, apart by prompt."""
    from truing.cli.show_data import mapping, show_written
    from truing.jobs import convert as job

    show_written(
        lambda progress: job.split(
            source,
            output,
            test=test,
            near=near,
            seed=seed,
            columns=mapping(column),
            progress=progress,
        ),
        as_json=as_json,
    )


def subset(
    source: Source,
    output: Annotated[Path, typer.Argument(help="The file to write.")],
    length: Annotated[
        Literal["all", "long", "short"], typer.Option(help="Pairs whose chosen response is so.")
    ] = "all",
    model: Model = None,
    min_gap: Annotated[float | None, typer.Option(help="Least score gap.")] = None,
    max_gap: Annotated[float | None, typer.Option(help="Largest score gap.")] = None,
    per_prompt: Annotated[int | None, typer.Option(min=1, help="Pairs a prompt.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Pairs in all.")] = None,
    seed: Seed = 0,
    column: Columns = None,
    as_json: AsJson = False,
) -> None:
    """Some of the pairs: by label length, by score gap, or fewer."""
    from truing.cli.show_data import mapping, show_written
    from truing.jobs import convert as job

    show_written(
        lambda progress: job.subset(
            source,
            output,
            length=length,
            model=model,
            min_gap=min_gap,
            max_gap=max_gap,
            per_prompt=per_prompt,
            rows=rows,
            seed=seed,
            columns=mapping(column),
            progress=progress,
        ),
        as_json=as_json,
    )


def register(app: typer.Typer) -> None:
    """Put the verbs on the command."""
    for verb in (inspect, convert, split, subset):
        app.command()(verb)
