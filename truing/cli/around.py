"""Verbs before and after training: the supervised start, talking to a run, giving it away."""

from pathlib import Path
from typing import Annotated

import typer

from truing.cli.exits import INTERRUPTED
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


def sft(
    items: Items = None,
    model: Model = None,
    data: Data = None,
    output: Output = None,
    lora: Lora = False,
    strict: Strict = False,
    skip_bad: SkipBad = None,
    as_json: AsJson = False,
) -> None:
    """Supervised start: learn prompt and completion, conversations, or the chosen responses."""
    from truing.cli.show import show_train
    from truing.config import as_supervised

    result = show_train(
        items or [],
        given(data, lora=lora, model=model, output=output),
        resume=None,
        strict=strict,
        skip_bad=skip_bad,
        as_json=as_json,
        keys=as_supervised,
    )
    if not result.finished:
        raise typer.Exit(INTERRUPTED)


def check(
    items: Items = None,
    model: Model = None,
    data: Data = None,
    objective: ObjectiveText = None,
    output: Output = None,
    lora: Lora = False,
    as_json: AsJson = False,
) -> None:
    """Everything that is wrong with a run, its needs, memory and time; loads no weights."""
    from truing.cli.show_check import show_check

    flags = given(data, lora=lora, model=model, objective=objective, output=output)
    code = show_check(items or [], flags, as_json=as_json)
    if code:
        raise typer.Exit(code)


def sweep(
    items: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[BASE.yaml] [KEY=VALUE,VALUE]...",
            help="Keys with several values make the grid; objective.beta=0.05,0.1 is a knob.",
        ),
    ] = None,
    model: Model = None,
    data: Data = None,
    output: Annotated[Path, typer.Option(help="Folder of the sweep; the same takes it up.")] = Path(
        "sweep"
    ),
    lora: Lora = False,
    sort: Annotated[
        str | None, typer.Option(help="A number of the evaluation, e.g. reward_accuracy.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time; default: one a GPU, else one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A grid of runs: every combination of values, one table, one page to compare."""
    from truing.cli.show_sweep import show_sweep

    flags = given(data, lora=lora, model=model)
    code = show_sweep(items or [], flags, output=output, sort=sort, jobs=jobs, as_json=as_json)
    if code:
        raise typer.Exit(code)


Speaker = Annotated[str, typer.Argument(metavar="RUN", help="Run or model folder, or hub name.")]
Temperature = Annotated[float, typer.Option(min=0, help="0: the likeliest token always.")]
TopP = Annotated[float, typer.Option(help="Draw from the likeliest tokens that hold this much.")]
TopK = Annotated[int | None, typer.Option(min=1, help="Draw from so many likeliest tokens.")]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="A longer response is cut.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the draws; the same seed, the same words.")]


def generate(
    model: Speaker,
    prompts: Annotated[
        str, typer.Argument(help="Rows with `prompt`, world(rows=20), or - for lines of stdin.")
    ],
    responses: Annotated[int, typer.Option(min=1, help="To each prompt.")] = 1,
    temperature: Temperature = 1.0,
    top_p: TopP = 1.0,
    top_k: TopK = None,
    max_new_tokens: MaxNewTokens = 256,
    rows: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
    seed: Seed = 0,
) -> None:
    """Responses to prompts, one JSON line each on stdout."""
    from truing.cli.show_around import show_generated

    sampling = {
        "num_responses": responses,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "max_new_tokens": max_new_tokens,
    }
    show_generated(model, prompts, sampling=sampling, seed=seed, rows=rows)


def chat(
    model: Speaker,
    question: Annotated[
        str | None, typer.Argument(help="Default: stdin; at a terminal a conversation.")
    ] = None,
    compare: Annotated[
        str | None, typer.Option(help="Stands beside it; default: the start of the run.")
    ] = None,
    alone: Annotated[bool, typer.Option("--alone", help="Nothing stands beside it.")] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Text to go on from, though there is a chat template.")
    ] = False,
    system: Annotated[str, typer.Option(help="Instructions before the first question.")] = "",
    temperature: Temperature = 1.0,
    top_p: TopP = 1.0,
    top_k: TopK = None,
    max_new_tokens: MaxNewTokens = 256,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Talk with a run beside its start, or beside another model."""
    from truing.cli.show_around import show_chat

    show_chat(
        model,
        question=question,
        compare=compare,
        is_alone=alone,
        is_plain=plain,
        system=system,
        sampling={
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "max_new_tokens": max_new_tokens,
        },
        seed=seed,
        as_json=as_json,
    )


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    output: Annotated[Path, typer.Argument(help="New or empty folder.")],
    name: Annotated[str, typer.Option(help="Of the model; default: the run's folder.")] = "",
    licence: Annotated[str, typer.Option("--licence", "--license", help="apache-2.0 ...")] = "",
    licence_link: Annotated[str, typer.Option(help="Of a licence of one's own.")] = "",
    language: Annotated[list[str] | None, typer.Option(help="en ...; may be repeated.")] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(help="Hub name of the data; may be repeated.")
    ] = None,
    base: Annotated[str, typer.Option(help="Hub name of the model it was trained from.")] = "",
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
    adapters: Annotated[
        bool, typer.Option("--adapters", help="Low-rank adapters without their base.")
    ] = False,
    push: Annotated[str | None, typer.Option(help="OWNER/NAME on the model hub.")] = None,
    public: Annotated[bool, typer.Option("--public", help="Of what is pushed.")] = False,
    as_json: AsJson = False,
) -> None:
    """One folder to give away: merged weights, tokenizer, and a card of data and measures."""
    from truing.cli.show_around import show_export
    from truing.jobs.card import CardFacts

    facts = CardFacts(
        name, licence, licence_link, tuple(language or ()), tuple(dataset or ()), base
    )
    show_export(
        run,
        output,
        facts=facts,
        dtype=dtype,
        keeps_adapters=adapters,
        push=push,
        is_public=public,
        as_json=as_json,
    )


def watch(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    once: Annotated[bool, typer.Option("--once", help="Show where it stands, and end.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 2.0,
) -> None:
    """See a run go from another terminal: metrics, time left, alarms; ends when the run does."""
    from truing.cli.show_watch import show_watch

    show_watch(run_folder, once=once, every_s=every)


def register(app: typer.Typer) -> None:
    """Put the verbs on the command."""
    for verb in (sft, check, sweep, generate, chat, export, watch):
        app.command()(verb)
