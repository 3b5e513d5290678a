"""A formula in plain floats beside the recipe of its name: loss and gradient must be the same.

The tests beside this file write each paper's formula in Python floats over the rows of `rows.py`;
torch is here only, to make the `View` that the recipe reads and to compare its gradient with the
formula's own slope.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from truing.core import State, View
from truing.recipes import parse

from .rows import PAIRS, PROMPTS, SOURCES, Rows, pairs_of

EXACT = 1e-10
"""Two float64 computations of the same loss in another order agree to this, relatively."""

STEP, SLOPE = 1e-3, 1e-6
"""The slope of a formula is a five-point difference over this step, good to this, relatively."""

STATISTICS = {"log_sum_sq": "log_sum_sq", "kl_pos": "kl"}


@dataclass(frozen=True)
class Seen:
    """A view and its leaves: flat tensors, a token a number, in the order of the responses."""

    view: View
    leaves: Mapping[str, torch.Tensor]


def seen(rows: Rows, references: int = 2, **fields: Any) -> Seen:
    """What an objective is given of these rows; `fields` are further ones of the view."""
    sides = [side for row in rows for side in row]
    index = {id(side): number for number, side in enumerate(sides)}
    assert len(index) == len(sides), "a response stands twice"
    pairs = [(index[id(yw)], index[id(yl)]) for yw, yl in pairs_of(rows)]
    leaves = {"policy": _flat(side.policy for side in sides).requires_grad_()}
    if all(side.kl for side in sides):
        found = {name: _flat(getattr(s, name) for s in sides) for name in STATISTICS.values()}
        leaves |= {name: values.requires_grad_() for name, values in found.items()}
        fields["statistics"] = {n: leaves[f] for n, f in STATISTICS.items()}
    if sides[0].label is not None:
        fields["labels"] = torch.tensor([side.label for side in sides])
    number = min(references, len(sides[0].references))
    view = View(
        policy=leaves["policy"],
        response=torch.tensor([i for i, side in enumerate(sides) for _ in side.policy]),
        group=torch.tensor([g for g, row in enumerate(rows) for _ in row]),
        pairs=torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2),
        references=torch.stack([_flat(s.references[k] for s in sides) for k in range(number)]),
        scores=_flat([[side.score for side in sides]]),
        win_probability=_flat([[side.wins for side in sides]]),
        unconditional=_flat([[side.alone for side in sides]]),
        mismatched=torch.tensor([side.mismatched for side in sides]),
        auxiliary={name: source_view(tokens) for name, tokens in SOURCES.items()},
        **fields,
    )
    return Seen(view, leaves)


def source_view(responses: tuple[tuple[float, ...], ...]) -> View:
    """Single responses, one a row."""
    return View(
        policy=_flat(responses).requires_grad_(),
        response=torch.tensor([i for i, tokens in enumerate(responses) for _ in tokens]),
        group=torch.arange(len(responses)),
        pairs=torch.zeros(0, 2, dtype=torch.int64),
    )


def prompts_seen() -> dict[str, torch.Tensor]:
    """The fields of a view that hold the prompts' tokens."""
    groups = [g for g, tokens in enumerate(PROMPTS) for _ in tokens]
    return {"prompt": _flat(PROMPTS), "prompt_group": torch.tensor(groups)}


def positions_seen(rows: Rows, kept: Mapping[tuple[int, int], Any]) -> torch.Tensor:
    """Token subsets as a view takes them: chosen sides, then rejected, a column a position.

    Args:
        rows: of pairs.
        kept: positions by (row, 0 chosen or 1 rejected); where nothing is said, all.
    """
    width = max(side.n for row in rows for side in row)
    table = torch.zeros(2 * len(rows), width, dtype=torch.bool)
    for half in (0, 1):
        for number, row in enumerate(rows):
            table[half * len(rows) + number, list(kept.get((number, half), range(row[half].n)))] = 1
    return table


def _flat(rows: Any) -> torch.Tensor:
    return torch.tensor([value for row in rows for value in row], dtype=torch.float64)


# ---------------------------------------------------------------------------- cases


@dataclass(frozen=True)
class Text:
    """A knob that is an objective: its expression, and its formula beside it."""

    expression: str
    formula: Callable[..., float]

    def __repr__(self) -> str:
        return self.expression


@dataclass(frozen=True)
class Case:
    """A formula at some knobs; its name is the recipe's.

    Args:
        formula: the loss of whole rows in plain floats, called with the knobs.
        knobs: what is written in the expression; the formula's own defaults stand for the rest.
        rows: what it is computed on.
        fields: further fields of the view.
        leaves: whose gradient is compared: policy, log_sum_sq, kl.
        references: how many of them the view has.
    """

    formula: Callable[..., float]
    knobs: Mapping[str, Any] = field(default_factory=dict)
    rows: Rows = PAIRS
    fields: Mapping[str, Any] = field(default_factory=dict)
    leaves: tuple[str, ...] = ("policy",)
    references: int = 2

    @property
    def name(self) -> str:
        return self.formula.__name__

    @property
    def expression(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.knobs.items())})"

    def __str__(self) -> str:
        return self.expression

    def wanted(self, rows: Rows) -> float:
        return self.formula(rows, **self.knobs)


def cases(formula: Callable[..., float], *settings: Mapping[str, Any], **others: Any) -> list[Case]:
    """A formula at several settings of its knobs, in the same surroundings."""
    return [Case(formula, knobs, **others) for knobs in settings]


def check(case: Case) -> None:
    """Loss and gradient of the recipe are those of the formula."""
    given = seen(case.rows, case.references, **case.fields)
    loss = parse(case.expression)(given.view).loss
    assert math.isclose(float(loss.detach()), case.wanted(case.rows), rel_tol=EXACT, abs_tol=1e-12)
    leaves = [given.leaves[name] for name in case.leaves]
    slopes = torch.autograd.grad(loss, leaves, materialize_grads=True)
    for name, slope in zip(case.leaves, slopes, strict=True):
        wanted = list(slopes_of(case.wanted, case.rows, name))
        near = SLOPE * max(abs(number) for number in [*wanted, SLOPE])
        assert all(abs(a - b) < near for a, b in zip(slope.tolist(), wanted, strict=True)), name


def slopes_of(formula: Callable[[Rows], float], rows: Rows, name: str) -> Iterator[float]:
    """The formula's derivative by each token's number, what is still left as it was."""
    for number, row in enumerate(rows):
        for place, side in enumerate(row):
            for token in range(side.n):
                moved = functools.partial(_moved, rows, (number, place, token), name)
                near = formula(moved(STEP)) - formula(moved(-STEP))
                far = formula(moved(2 * STEP)) - formula(moved(-2 * STEP))
                yield (8 * near - far) / (12 * STEP)


def _moved(rows: Rows, at: tuple[int, int, int], name: str, by: float) -> Rows:
    number, place, token = at
    side = rows[number][place]
    values = getattr(side, name)
    values = (*values[:token], values[token] + by, *values[token + 1 :])
    row = list(rows[number])
    row[place] = replace(side, **{name: values}, original=side)
    return (*rows[:number], tuple(row), *rows[number + 1 :])


def state_of(**values: float) -> dict[str, State]:
    """The field `state` of a view: state_of(beta_dpo__mean=0.4)."""
    return {"state": State({name.replace("__", "/"): v for name, v in values.items()})}
