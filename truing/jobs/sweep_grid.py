"""The points of a sweep: every combination of the values that keys and knobs are given."""

import ast
import hashlib
import inspect
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from truing.config import RunConfig, build_config, with_overrides
from truing.errors import ConfigError, KnobError
from truing.recipes import parse
from truing.recipes.parse import names

KNOB = "objective."
_OPEN, _CLOSE = "([{", ")]}"
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Axis:
    """One key and its values, as they were written.

    Args:
        key: of the configuration, or `objective.KNOB`.
        values: one at least; texts.
    """

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """One run of a sweep.

    Args:
        name: of its folder: what sets it apart, and a hash of everything.
        settings: what sets it apart, by key.
        values: all keys but `output`.
    """

    name: str
    settings: Mapping[str, str]
    values: Mapping[str, Any]


def axis(text: str) -> Axis:
    """`KEY=V1,V2` or `KEY=V1;V2`; commas and semicolons inside brackets and quotes part nothing.

    Raises:
        ConfigError: no key, or an empty value.
    """
    key, equals, rest = text.partition("=")
    values = _parted(rest, ";")
    if len(values) == 1:
        values = _parted(rest, ",")
    if not equals or not key or not all(values):
        raise ConfigError(
            "is not of the form KEY=VALUE,VALUE",
            where=text,
            fix="write for instance learning_rate=1e-6,5e-6",
        )
    if len(set(values)) < len(values):
        raise ConfigError("has a value twice", where=text, fix="give each value once")
    return Axis(key, tuple(values))


def _parted(text: str, mark: str) -> list[str]:
    depth, quote, parts = 0, "", [""]
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        depth += (letter in _OPEN) - (letter in _CLOSE) if not quote else 0
        if letter == mark and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def points(base: Mapping[str, Any], axes: Sequence[Axis]) -> tuple[Point, ...]:
    """Every combination, the last axis fastest; each is a configuration that stands.

    Raises:
        ConfigError: a combination is no configuration; names it.
        KnobError: a knob that the objective has not.
    """
    keys = [one.key for one in axes]
    for key in {key for key in keys if keys.count(key) > 1} | ({"output"} & {*keys, *base}):
        raise ConfigError(
            "the sweep makes the folders itself" if key == "output" else "is given twice",
            where=key,
            fix="use --output for the folder of the sweep" if key == "output" else "give it once",
        )
    found = [_point(base, axes, chosen) for chosen in itertools.product(*(a.values for a in axes))]
    return tuple(found)


def _point(base: Mapping[str, Any], axes: Sequence[Axis], chosen: Sequence[str]) -> Point:
    given = {one.key: value for one, value in zip(axes, chosen, strict=True)}
    # Knobs go into the expression that the point has, whichever axis brings it.
    plain = [f"{key}={value}" for key, value in given.items() if not key.startswith(KNOB)]
    values = with_overrides(base, plain)
    for key, value in given.items():
        if key.startswith(KNOB):
            expression = str(values.get("objective", RunConfig.model_fields["objective"].default))
            values["objective"] = with_knob(expression, key.removeprefix(KNOB), value)
    settings = {one.key: given[one.key] for one in axes if len(one.values) > 1}
    where = " ".join(f"{key}={value}" for key, value in settings.items()) or "the sweep"
    config = build_config({**values, "output": "run"}, where=where)
    parse(config.objective)
    return Point(_name(settings, config), settings, values)


def _name(settings: Mapping[str, str], config: RunConfig) -> str:
    """The same for the same configuration, whatever the order and the company of the points."""
    whole = json.dumps(config.model_dump(mode="json", exclude={"output"}), sort_keys=True)
    digest = hashlib.blake2b(whole.encode(), digest_size=4).hexdigest()
    words = "_".join(f"{key.rpartition('.')[2]}={value}" for key, value in settings.items())
    slug = re.sub(r"[^A-Za-z0-9=._+-]+", "-", words).strip("-.")[:_LONGEST_NAME]
    return f"{slug}_{digest}" if slug else digest


def with_knob(expression: str, knob: str, value: str) -> str:
    """The expression with one knob set: `beta`, or `dpo.beta` where several recipes have one.

    Raises:
        KnobError: no recipe of the expression has that knob, or several have and none is named.
    """
    recipe, _, name = knob.rpartition(".")
    tree = ast.parse(expression, mode="eval")
    calls = [call for call in _calls(tree) if _has(call, name) and recipe in {"", _called(call)}]
    if len(calls) != 1:
        named = ", ".join(f"objective.{_called(call)}.{name}" for call in calls)
        raise KnobError(
            f"{len(calls) or 'none'} of its recipes {'have' if calls else 'has'} the knob {name}",
            where=f"{expression}, {KNOB}{knob}",
            fix=f"say which: {named}" if calls else "see truing explain",
        )
    new = ast.parse(value, mode="eval").body
    [call] = calls
    call.keywords = [
        *(one for one in call.keywords if one.arg != name),
        ast.keyword(arg=name, value=new),
    ]
    return repr(parse(ast.unparse(tree)))


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func)


def _has(call: ast.Call, knob: str) -> bool:
    called = names().get(_called(call))
    return called is not None and knob in inspect.signature(called).parameters


def axes_of(items: Iterable[str]) -> tuple[Axis, ...]:
    """Every `KEY=VALUES` of a command line."""
    return tuple(axis(item) for item in items)
