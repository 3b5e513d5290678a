"""A step's rows in parts: which process computes which, and how all come to see every part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from truing.core import BatchContext, State, View
from truing.engine import Engine, SharedEngine, ranks
from truing.references.join import Rows

_SHARED = ("context", "state")


@dataclass(frozen=True)
class Part:
    """Some of a step's rows: as many as fit one forward pass, and their share of the sources.

    Args:
        number: orders the parts of all processes.
        rows: none where the pass is made for company alone.
        auxiliary: by the name of the source.
        forwards: forward passes that each source takes in this round in every process.
        is_last: of this process's parts.
    """

    number: int
    rows: Rows
    auxiliary: Mapping[str, Rows]
    forwards: Mapping[str, int]
    is_last: bool


def parts_of(engine: Engine, rows: Rows, auxiliary: Mapping[str, Rows]) -> list[list[Part]]:
    """Every process's parts of a step, the same list in each of them.

    Every part takes its share of the sources, so that none is much larger than another.
    """
    dealt = ranks.deal(
        engine.plan(rows.examples),
        rows.examples,
        ranks.world(),
        is_shared=isinstance(engine, SharedEngine),
    )
    # Parts without rows have the last numbers, and no share of the sources.
    count = sum(bool(indices) for own in dealt for _, indices in own)
    shares = [
        {
            name: source.at(range(len(source))[number::count] if number < count else ())
            for name, source in auxiliary.items()
        }
        for number in range(sum(map(len, dealt)))
    ]
    rounds = [
        {
            name: max(_num_forwards(engine, shares[own[at][0]][name]) for own in dealt)
            for name in auxiliary
        }
        for at in range(len(dealt[0]))
    ]
    return [
        [
            Part(number, rows.at(indices), shares[number], rounds[at], at == len(own) - 1)
            for at, (number, indices) in enumerate(own)
        ]
        for own in dealt
    ]


def _num_forwards(engine: Engine, rows: Rows) -> int:
    return len(engine.plan(rows.examples)) if len(rows) else 0


def in_order(parts: Sequence[Sequence[Part]]) -> list[Part]:
    """The parts of all processes that hold rows, by their numbers."""
    full = (part for own in parts for part in own if len(part.rows))
    return sorted(full, key=lambda part: part.number)


def all_views(
    views: Mapping[int, View], context: BatchContext, state: State, device: torch.device
) -> list[View]:
    """The views of all processes' parts in order, without gradient.

    Args:
        views: of this process's parts, by their numbers.
        context: the optimizer step.
        state: running scalars before it.
        device: of this process.
    """
    if ranks.world() == 1:
        return [views[number] for number in sorted(views)]
    told = ranks.gathered({number: _plain(view) for number, view in views.items()})
    found = {number: table for own in told for number, table in own.items()}
    return [
        replace(_view(found[number], device), context=context, state=state)
        for number in sorted(found)
    ]


def _plain(view: View) -> dict[str, Any]:
    """A view's fields as tensors of the CPU and dictionaries, to be sent."""
    return {
        field.name: _sent(getattr(view, field.name))
        for field in fields(View)
        if field.name not in _SHARED
    }


def _sent(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, View):
        return _plain(value)
    if isinstance(value, Mapping):
        return {name: _sent(one) for name, one in value.items()}
    return value


def _view(table: Mapping[str, Any], device: torch.device) -> View:
    values = {name: _received(value, device) for name, value in table.items()}
    values["auxiliary"] = MappingProxyType(
        {name: _view(one, device) for name, one in table["auxiliary"].items()}
    )
    return View(**values)


def _received(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: _received(one, device) for name, one in value.items()}
    return value


@dataclass(frozen=True)
class Place:
    """The first row of a part in the whole step, and in each source."""

    row: int
    auxiliary: Mapping[str, int]


def places(parts: Sequence[Part]) -> dict[int, Place]:
    """Where each of the parts of all processes, in order, begins; by their numbers."""
    found = {}
    row, firsts = 0, dict.fromkeys(parts[0].auxiliary, 0)
    for part in parts:
        found[part.number] = Place(row, dict(firsts))
        row += len(part.rows)
        for name, rows in part.auxiliary.items():
            firsts[name] += len(rows)
    return found
