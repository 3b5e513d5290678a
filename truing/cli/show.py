"""A verb's job called and its result shown, as a table for a person or as JSON for a program."""

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truing.cli import console
from truing.config import build_config, read_config, with_overrides
from truing.errors import ConfigError

if TYPE_CHECKING:
    from truing.jobs.train import TrainResult


def show_train(
    items: list[str],
    flags: Mapping[str, Any],
    *,
    resume: Path | None,
    strict: bool,
    skip_bad: Path | None,
    as_json: bool,
    keys: Callable[[Mapping[str, Any]], dict[str, Any]] = dict,
) -> "TrainResult":
    """`truing train`, and with other `keys` the verbs that are a training run of their kind."""
    # The configuration is checked before anything heavy is imported.
    values = {} if resume else keys(configured(items, flags))
    if not resume:
        build_config(values)
    output = resume or Path(str(values["output"]))
    try:
        with console.ours_alone():
            from truing.jobs import train as job

            console.quiet_libraries()
            if resume is not None:
                result = job.resume(resume, progress=console.BARS)
            else:
                result = job.train(
                    progress=console.BARS, strict=strict, skip_bad=skip_bad, **values
                )
    except KeyboardInterrupt:
        if (output / "run.yaml").exists():
            console.say(f"go on: truing train --resume {output}")
        raise
    # Of several processes one speaks.
    if os.environ.get("RANK", "0") == "0":
        _show_trained(result, values, as_json=as_json)
    return result


def _show_trained(result: "TrainResult", values: Mapping[str, Any], *, as_json: bool) -> None:
    """The result on stdout, the next command on stderr."""
    report = result.output / "report.html"
    if as_json:
        console.show_json(
            {
                "output": str(result.output),
                "steps": result.steps,
                "finished": result.finished,
                "report": str(report) if report.exists() else None,
                "evaluation": dict(result.evaluation),
                **({"rounds": [dict(line) for line in result.rounds]} if result.rounds else {}),
            }
        )
    else:
        _show_what_came_of(result)
        console.show(str(report if report.exists() else result.output))
    if result.finished and values.get("texts"):
        console.say(f"next: truing train --model {result.output} --data PAIRS.jsonl --output RUN")
    elif result.finished:
        console.say(f"next: truing evaluate {result.output} --data HELD-OUT.jsonl")
    else:
        console.say(f"stopped at step {result.steps}; go on: truing train --resume {result.output}")


def _show_what_came_of(result: "TrainResult") -> None:
    if result.rounds:
        _show_rounds(result.rounds)
    elif result.evaluation:
        show_numbers("held-out rows", result.evaluation)


_ROUND = (
    ("rows", "rows", "{:,}"),
    ("steps", "steps", "{}"),
    ("score", "score", "{:.2f}"),
    ("win_rate", "wins", "{:.3f}"),
    ("step_win_rate", "of last", "{:.3f}"),
    ("kl", "KL", "{:.1f}"),
    ("length", "tokens", "{:.0f}"),
    ("seconds", "s", "{:.0f}"),
)


def _show_rounds(lines: Sequence[Mapping[str, Any]]) -> None:
    """A row for each round, the start above them."""
    known = [one for one in _ROUND if lines[-1].get(one[0]) is not None]
    start = [
        form.format(lines[0][f"{key}_before"]) if f"{key}_before" in lines[0] else ""
        for key, _, form in known
    ]
    rows = [["start", *start]] if any(start) else []
    for line in lines:
        cells = ["" if line.get(key) is None else form.format(line[key]) for key, _, form in known]
        rows.append([str(line["round"]), *cells])
    title = "wins: share of prompts won against the start, and against the round before"
    columns = ("round", *(name for _, name, _ in known))
    console.show_table(title if lines[-1].get("win_rate") is not None else "", columns, rows)


def recipe_and_rest(items: Sequence[str]) -> tuple[str | None, list[str]]:
    """The recipe file, if the first item is one, and the items with keys.

    A path may hold `=` too: the runs of a sweep are called after their settings.
    """
    if not items:
        return None, []
    key, equals, _ = items[0].partition("=")
    if equals and os.sep not in key and not Path(items[0]).is_file():
        return None, list(items)
    return items[0], list(items[1:])


def configured(items: list[str], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Recipe file, then flags, then overrides: the later one wins."""
    recipe, overrides = recipe_and_rest(items)
    values = {} if recipe is None else read_config(Path(recipe))
    for name in overrides:
        key = name.partition("=")[0]
        if key in flags:
            raise ConfigError(
                f"`{key}` is given as a flag and as an override", where=name, fix="give it once"
            )
    return with_overrides({**values, **flags}, overrides)


_NAMES = (
    ("nll", "loss, nats a token"),
    ("nll_before", "loss of the start"),
    ("perplexity", "perplexity"),
    ("reward_accuracy", "reward accuracy"),
    ("policy_accuracy", "policy accuracy"),
    ("margin", "margin"),
    ("drift_chosen", "log-ratio of chosen, nats"),
    ("drift_rejected", "log-ratio of rejected, nats"),
    ("chosen_longer", "chosen is the longer one"),
)


def show_numbers(title: str, numbers: Mapping[str, Any]) -> None:
    """The main numbers of an evaluation with their 95 % intervals."""
    rows = []
    for key, name in _NAMES:
        if numbers.get(key) is None:
            continue
        low, high = numbers.get(f"{key}_low"), numbers.get(f"{key}_high")
        rows.append((name, console.number(numbers[key]), console.interval(low, high)))
    rows += [(name, str(numbers[name]), "") for name in ("pairs", "texts") if name in numbers]
    console.show_table(title, ("measure", "value", "95 % interval"), rows)


def show_demo(output: Path | None, *, seed: int, as_json: bool) -> None:
    """`truing demo`."""
    from truing.jobs.demo import demo

    console.quiet_libraries()
    result = demo(output or _next_free("demo-run"), seed=seed, progress=console.BARS)
    if as_json:
        console.show_json(result.to_json())
    else:
        console.show_table(result.title, result.columns, result.rows)
        console.show(str(result.output / "report.html"))
    console.say("next: train on your own pairs, see README.md")


def _next_free(name: str) -> Path:
    """The folder of this name, or with the first number behind it that is not taken."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(path for path in map(Path, names) if not path.exists())


def show_doctor(*, engine: bool, model: str | None, as_json: bool) -> None:
    """`truing doctor`."""
    from truing.jobs.doctor import architecture_table, model_line, surroundings

    lines = architecture_table(console.BARS) if engine else ()
    if model is not None:
        console.quiet_libraries()
        lines = (model_line(model), *lines)
    facts = surroundings()
    if as_json:
        console.show_json({**facts, "engines": [vars(line) for line in lines]})
        return
    console.show_table(
        "", ("what", "which"), [(k, str(v)) for k, v in facts.items()], numbers=False
    )
    if lines:
        rows = [(line.name, line.engine, line.reason) for line in lines]
        columns = ("family of models", "engine", "why not shared")
        console.show_table("", columns, rows, numbers=False)
