"""Options that several verbs take, each with one name and one help text."""

from pathlib import Path
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="One JSON value on stdout, nothing else.")]
Items = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RECIPE.yaml] [KEY=VALUE]...",
        help="A recipe file, then keys that go over it: epochs=3 lora.rank=8.",
    ),
]
Model = Annotated[str | None, typer.Option(help="Folder or hub name of the model.")]
Data = Annotated[list[str] | None, typer.Option(help="Rows; may be repeated.")]
ObjectiveText = Annotated[
    str | None, typer.Option(help='What to train, e.g. "sampo(beta=0.1) + 0.2*sft()".')
]
Output = Annotated[str | None, typer.Option(help="Folder of the run; new or empty.")]
Lora = Annotated[bool, typer.Option("--lora", help="Low-rank adapters; else all weights.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="A row without signal or over the limit is an error.")
]
SkipBad = Annotated[Path | None, typer.Option(help="Write malformed rows to this file and go on.")]


def given(data: list[str] | None, *, lora: bool = False, **flags: Any) -> dict[str, Any]:
    """The keys of a configuration that flags have set."""
    if data:
        flags["data"] = data if len(data) > 1 else data[0]
    if lora:
        flags["lora"] = True
    return {key: value for key, value in flags.items() if value is not None}
