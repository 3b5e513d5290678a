"""Verbs that measure: a run by itself, runs beside each other, judges."""

from pathlib import Path
from typing import Annotated, Any

import typer

from truing.cli.asking import asks
from truing.cli.options import AsJson


def register(app: typer.Typer) -> None:
    """Put the verbs on the command."""
    for verb in (evaluate, compare, judge):
        app.command()(verb)


@asks
def evaluate(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    data: Annotated[str | None, typer.Option(help="Held-out rows.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Only the first so many rows.")] = None,
    asking: Any = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Model, run, or file with `prompt` and `response`; else the start."),
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Tasks of lm-evaluation-harness, with commas.")
    ] = None,
    task_folder: Annotated[
        Path | None, typer.Option(help="Where further tasks are defined.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Documents of each task; default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a run: held-out pairs, responses to prompts, public tasks."""
    from truing.cli.show_measures import show_evaluation

    options = {
        "rows": rows,
        "asking": asking,
        "baseline": baseline,
        "tasks": tuple(filter(None, (tasks or "").split(","))),
        "task_folder": task_folder,
        "limit": limit,
    }
    show_evaluation(run_folder, data, options, as_json=as_json)


@asks
def compare(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN RUN...", help="Folders of finished runs.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Held-out rows for all of them.")] = None,
    asking: Any = None,
    judgements: Annotated[
        Path | None,
        typer.Option(help="Instead of runs: a file of a judge's verdicts, see docs/evaluation.md."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Whom the models of the verdicts stand against.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="The page; default: compare.html.")] = None,
    as_json: AsJson = False,
) -> None:
    """Set runs beside each other: numbers, significance, frontier, curves and samples on a page."""
    from truing.cli.show_measures import show_comparison, show_judgements

    if judgements is not None:
        if runs or data or asking or output:
            raise typer.BadParameter("takes --baseline only", param_hint="--judgements")
        show_judgements(judgements, baseline, as_json=as_json)
        return
    if baseline is not None:
        raise typer.BadParameter("has no effect without --judgements", param_hint="--baseline")
    options = {"data": data, "asking": asking, "output": output or Path("compare.html")}
    show_comparison(runs or [], options, as_json=as_json)


def judge(
    data: Annotated[Path, typer.Argument(metavar="PAIRS", help="Pairs that people have judged.")],
    score: Annotated[
        str | None, typer.Option(help="Judge them by a score; else by columns of the file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """How good is a judge: accuracy, agreement, position bias, and what length alone gets."""
    from truing.cli.show_measures import show_judge

    show_judge(data, score, as_json=as_json)
