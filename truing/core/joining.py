"""Views cut into smaller views, and put together again.

A trainer that runs an optimizer step in micro-batches, or an objective that couples the examples
of a step, needs both: `part` of a view by rows, and the `whole` of many views.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType

import torch
from torch import Tensor

from truing.core.state import State
from truing.core.view import BatchContext, View

_BY_TOKEN = ("policy", "references")
_BY_RESPONSE = (
    "reference_sums",
    "unconditional",
    "scores",
    "labels",
    "win_probability",
    "mismatched",
)
_KEPT = ("context", "state")


def part(view: View, start: int, stop: int) -> View:
    """Rows `start` to `stop` of a view (its groups), with the same context.

    Auxiliary sources stay with the part that begins at row 0, so that parts add up to the whole.
    """
    ends = torch.tensor([start, stop], device=view.group.device)
    first, last = (int(end) for end in torch.searchsorted(view.group, ends))
    token = (view.response >= first) & (view.response < last)
    pair_group = view.group[view.pairs[:, 0]]
    pair = (pair_group >= start) & (pair_group < stop)
    changes: dict[str, object] = {name: _cut(getattr(view, name), token) for name in _BY_TOKEN}
    changes |= {
        name: None if (value := getattr(view, name)) is None else value[..., first:last]
        for name in _BY_RESPONSE
    }
    changes |= {
        "response": view.response[token] - first,
        "group": view.group[first:last] - start,
        "pairs": view.pairs[pair] - first,
        "row_ids": None if view.row_ids is None else view.row_ids[start:stop],
        "selection": _cut(view.selection, pair),
        "positions": _cut_rows(view.positions, pair.repeat(2)),
        "reference_positions": _cut_rows(view.reference_positions, pair.repeat(2)),
        "statistics": {name: value[token] for name, value in view.statistics.items()},
        "heads": {name: value[first:last] for name, value in view.heads.items()},
        "auxiliary": view.auxiliary if start == 0 else MappingProxyType({}),
        "context": view.context or _context_of(view),
    }
    if view.prompt_group is not None:
        prompt = (view.prompt_group >= start) & (view.prompt_group < stop)
        changes["prompt"] = _cut(view.prompt, prompt)
        changes["prompt_group"] = view.prompt_group[prompt] - start
    return replace(view, **changes)  # pyright: ignore[reportArgumentType]


def whole(views: Sequence[View]) -> View:
    """One view of many, in their order; context and state are those of the first."""
    responses = _running([v.num_responses for v in views])
    groups = _running([v.num_groups for v in views])
    joined: dict[str, object] = {
        "response": torch.cat([v.response + n for v, n in zip(views, responses, strict=True)]),
        "group": torch.cat([v.group + n for v, n in zip(views, groups, strict=True)]),
        "pairs": torch.cat([v.pairs + n for v, n in zip(views, responses, strict=True)]),
        "prompt_group": _joined_groups(views, groups),
        "positions": _joined_sides(views, "positions"),
        "reference_positions": _joined_sides(views, "reference_positions"),
        "statistics": _joined_named([v.statistics for v in views]),
        "heads": _joined_named([v.heads for v in views]),
        "auxiliary": _joined_sources(views),
        "state": views[0].state if views else State(),
        "context": views[0].context if views else None,
    }
    for name in (f.name for f in fields(View) if f.name not in joined):
        present = [value for v in views if (value := getattr(v, name)) is not None]
        assert len(present) in (0, len(views)), f"{name} is there in some of the views only"
        joined[name] = torch.cat(present, dim=-1) if present else None
    return View(**joined)  # pyright: ignore[reportArgumentType]


def _context_of(view: View) -> BatchContext:
    counts = {name: view.counts_of(name) for name in view.auxiliary}
    return BatchContext(counts=view.counts, auxiliary_counts=counts)


def _cut(values: Tensor | None, keep: Tensor) -> Tensor | None:
    return None if values is None else values[..., keep]


def _cut_rows(values: Tensor | None, keep: Tensor) -> Tensor | None:
    return None if values is None else values[keep]


def _running(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[:i]) for i in range(len(sizes))]


def _joined_groups(views: Sequence[View], groups: Sequence[int]) -> Tensor | None:
    shifted = [
        v.prompt_group + n for v, n in zip(views, groups, strict=True) if v.prompt_group is not None
    ]
    return torch.cat(shifted) if shifted else None


def _joined_named(tables: Sequence[Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    names = tables[0] if tables else ()
    return {name: torch.cat([table[name] for table in tables]) for name in names}


def _joined_sides(views: Sequence[View], name: str) -> Tensor | None:
    """Subsets of all chosen sides, then of all rejected sides, on the widest table."""
    tables: list[Tensor] = [t for v in views if (t := getattr(v, name)) is not None]
    if not tables:
        return None
    width = max(t.shape[1] for t in tables)
    wide = [torch.nn.functional.pad(t, (0, width - t.shape[1])) for t in tables]
    halves = [t.chunk(2) for t in wide]
    return torch.cat([h[0] for h in halves] + [h[1] for h in halves])


def _joined_sources(views: Sequence[View]) -> Mapping[str, View]:
    names = dict.fromkeys(name for v in views for name in v.auxiliary)
    return {n: whole([v.auxiliary[n] for v in views if n in v.auxiliary]) for n in names}
