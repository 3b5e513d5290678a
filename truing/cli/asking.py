"""Options of asking prompts, which several verbs take as one block."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from truing.jobs.asking import Asking

_NEW_TOKENS = 256
Prompts = Annotated[
    str | None,
    typer.Option(help='Rows with `prompt` to respond to, or "world": the embedded test prompts.'),
]
Number = Annotated[int | None, typer.Option(min=1, help="Only the first so many prompts.")]
Responses = Annotated[int, typer.Option(min=1, help="Responses to each prompt.")]
NewTokens = Annotated[int, typer.Option(min=1, help="A longer response is cut.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the drawn responses.")]
ScoreOption = Annotated[
    str | None, typer.Option("--score", help='How responses are scored, e.g. "world()".')
]


def asks(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb these options in place of its parameter `asking`, which holds what they say."""
    options = inspect.signature(_asking).parameters
    own = inspect.signature(verb).parameters
    shown = [
        one
        for name, mine in own.items()
        for one in (options.values() if name == "asking" else [mine])
    ]

    def called(**values: Any) -> None:
        given = {name: values.pop(name) for name in options}
        verb(**values, asking=_asking(**given))

    called.__name__, called.__doc__ = verb.__name__, verb.__doc__
    called.__annotations__ = {one.name: one.annotation for one in shown}
    called.__signature__ = inspect.Signature(shown)  # pyright: ignore[reportFunctionMemberAccess]
    return called


def _asking(
    prompts: Prompts = None,
    number: Number = None,
    responses: Responses = 1,
    max_new_tokens: NewTokens = _NEW_TOKENS,
    seed: Seed = 0,
    score: ScoreOption = None,
) -> "Asking | None":
    """What to ask; options of asking without prompts are wrong usage."""
    if prompts is None:
        given = {"--number": number, "--score": score}
        idle = [name for name, value in given.items() if value is not None]
        changed = {"--responses": responses != 1, "--seed": seed != 0}
        changed["--max-new-tokens"] = max_new_tokens != _NEW_TOKENS
        idle += [name for name, is_true in changed.items() if is_true]
        if idle:
            raise typer.BadParameter("has no effect without --prompts", param_hint=idle[0])
        return None
    from truing.jobs.asking import Asking
    from truing.pairs.prompts import is_world

    if score is None and is_world(prompts):
        score = "world()"
    return Asking(prompts, number, responses, max_new_tokens, seed, score)
