"""The command `truing`: arguments in, one job called, its result shown."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from truing.cli import around as around_verbs
from truing.cli import data as data_verbs
from truing.cli import measures as measure_verbs
from truing.cli import migrate as migrate_verb
from truing.cli import pairs as pairs_verbs
from truing.cli import references as reference_verbs
from truing.cli import studies as study_verb
from truing.cli import world as world_verbs
from truing.cli.exits import INTERRUPTED, run
from truing.cli.options import (
    AsJson,
    Data,
    Items,
    Lora,
    Model,
    ObjectiveText,
    Output,
    SkipBad,
    Strict,
    given,
)

# Before any library of the hub is imported: no progress bars and no advice of theirs.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

app = typer.Typer(
    help="Preference fine-tuning that keeps reward, length and reference straight.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        from truing import __version__

        typer.echo(f"truing {__version__}")
        raise typer.Exit


@app.callback()
def _truing(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")] = False,
) -> None:
    """Options before the verb."""


@app.command()
def train(
    items: Items = None,
    model: Model = None,
    data: Data = None,
    objective: ObjectiveText = None,
    output: Output = None,
    lora: Lora = False,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with a stopped run; takes nothing else.")
    ] = None,
    strict: Strict = False,
    skip_bad: SkipBad = None,
    as_json: AsJson = False,
) -> None:
    """Align a model with preferences: rows in, weights and a report out."""
    from truing.cli.show import show_train

    flags = given(data, lora=lora, model=model, objective=objective, output=output)
    if resume is not None:
        _refuse_beside_resume([*flags, *(items or [])], strict=strict, skip_bad=skip_bad)
    result = show_train(
        items or [], flags, resume=resume, strict=strict, skip_bad=skip_bad, as_json=as_json
    )
    if not result.finished:
        raise typer.Exit(INTERRUPTED)


def _refuse_beside_resume(given: list[str], *, strict: bool, skip_bad: Path | None) -> None:
    extra = [*given, *(["--strict"] if strict else []), *(["--skip-bad"] if skip_bad else [])]
    if extra:
        raise typer.BadParameter(
            f"a resumed run takes up its own settings, so {extra[0]} would have no effect",
            param_hint="--resume",
        )


measure_verbs.register(app)


@app.command()
def demo(
    output: Annotated[
        Path | None, typer.Option(help="New or empty folder; default: the next free demo-run.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of sampling, labels and training.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train the embedded model on its own preferences and measure the truth, in minutes."""
    from truing.cli.show import show_demo

    show_demo(output, seed=seed, as_json=as_json)


@app.command()
def objectives(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD]...", help="Only those that hold them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The catalogue: name, paper, needs and idea of every objective."""
    from truing.cli.show_objectives import show_objectives

    show_objectives(" ".join(words or []), as_json=as_json)


@app.command()
def explain(
    expression: Annotated[str, typer.Argument(help='For instance "sampo(beta=0.1) + 0.2*sft()".')],
    plot: Annotated[
        Path | None, typer.Option(help="Write a page with the curves of loss and slopes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """One objective taken apart: formula, parts, needs, source, slopes, effective beta."""
    from truing.cli.show_objectives import show_explanation

    show_explanation(expression, plot=plot, as_json=as_json)


around_verbs.register(app)
data_verbs.register(app)
migrate_verb.register(app)
pairs_verbs.register(app)
world_verbs.register(app)
reference_verbs.register(app)
study_verb.register(app)


@app.command()
def doctor(
    engine: Annotated[
        bool, typer.Option("--engine", help="Which engine each family of models gets.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="Which engine this folder, GGUF file or hub name gets.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Versions and machine for a report of a bug; with --engine, what is exact on which model."""
    from truing.cli.show import show_doctor

    show_doctor(engine=engine, model=model, as_json=as_json)


def main() -> None:
    """Entry point of the command."""
    arguments = sys.argv[1:]
    code = run(lambda: app(arguments), debug="--debug" in arguments, as_json="--json" in arguments)
    sys.exit(code)
