"""Our tests of a recipe, for yours: `check_recipe(my_recipe)`.

    from truing.testing import check_recipe
    check_recipe(foo)          # raises AssertionError with the sentence that fails

What is checked holds for every recipe on the shelf: no knob is dead, the limits hold, `repr` parses
back, the order of rows changes nothing, nothing but the policy has a gradient, and loss and
gradient are finite wherever a run may come.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from inspect import Parameter
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import torch
from torch import Tensor

from truing.core import State, View
from truing.core.joining import part, whole
from truing.core.knobs import Interval
from truing.objectives import Objective
from truing.recipes import dpo, hinge, parse
from truing.recipes._recipe import SHELF, Recipe

EXACT = 1e-10
"""Two float64 computations of the same loss in another order agree to this, relatively."""

LENGTHS = ((5, 7), (9, 4), (3, 3), (1, 6), (4, 1), (8, 8), (2, 5))
"""Tokens of chosen and rejected in the rows of `sample_view`: longer, shorter, equal, one token."""

SOURCES = ("sft", "pretrain", "gold")


def sample_view(
    lengths: tuple[tuple[int, ...], ...] = LENGTHS,
    *,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> View:
    """A view with everything that any recipe may need, from a fixed seed.

    Each row has one response a length, scores falling from the first on (so the first is chosen),
    and one mismatched answer. Policy, statistics, heads, prompts and sources carry gradient.

    Args:
        lengths: tokens of the responses of each row; two a row make pairs, more K-wise rows.
        seed: of all numbers.
        dtype: of all numbers; float64 by default.
    """
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        values = torch.rand(*shape, generator=generator, dtype=torch.float64)
        return values.to(dtype or torch.float64)

    sizes = [(*row, 3) for row in lengths]
    flat = [length for row in sizes for length in row]
    mask = torch.arange(max(flat))[None, :] < torch.tensor(flat)[:, None]
    group = torch.tensor([g for g, row in enumerate(sizes) for _ in row])
    is_other = torch.tensor([i == len(row) - 1 for row in sizes for i in range(len(row))])
    count, width, tokens, rows = len(flat), max(flat), sum(flat), len(sizes)
    scores = torch.cat([torch.arange(len(row), 0, -1) + 0.4 * drawn(len(row)) for row in sizes])
    policy = -0.05 - 2 * drawn(count, width)
    references = (policy + 3 * drawn(2, count, width) - 1.5).clamp(max=-0.01)
    view = View.from_groups(
        policy.requires_grad_(),
        mask,
        group,
        references=references,
        scores=torch.where(is_other, scores.min() - 1, scores) * ~is_other + 0.1,
        pairs=None,
    )
    pairs = view.pairs[~is_other[view.pairs].any(dim=1)]
    return replace(
        view,
        policy=view.policy.detach().requires_grad_(),
        pairs=pairs,
        mismatched=is_other,
        win_probability=drawn(count),
        unconditional=-5 * drawn(count),
        statistics={n: _leaf(-3 * drawn(tokens)) for n in ("log_sum_sq", "kl_pos")},
        heads={"value": _leaf(drawn(count))},
        prompt=_leaf(-drawn(2 * rows)),
        prompt_group=torch.arange(rows).repeat_interleave(2),
        auxiliary={name: _source(drawn) for name in SOURCES},
        row_ids=torch.arange(rows) * 7919 + 13,
        state=State(dict.fromkeys(_averages(), 0.3)),
    )


@lru_cache
def _averages() -> tuple[str, ...]:
    """The running means and deviations that recipes keep; what merely counts begins at nothing."""
    names = {name for recipe in SHELF.values() for name in recipe.build().needs.state}
    return tuple(sorted(name for name in names if f"{name.split('/')[0]}/std" in names))


def _leaf(values: Tensor) -> Tensor:
    return values.requires_grad_()


def _source(drawn: Callable[..., Tensor]) -> View:
    policy = _leaf(-drawn(7))
    response = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    nothing = torch.zeros(0, 2, dtype=torch.int64)
    return View(policy, response, torch.arange(2), nothing)


def at_start(view: View) -> View:
    """The view of a run's first step: policy and every reference agree on every token."""
    assert view.references is not None
    references = view.policy.detach().expand_as(view.references)
    return replace(view, references=references)


def leaves_of(view: View) -> list[Tensor]:
    """Every tensor of a view that may carry a gradient."""
    assert view.prompt is not None
    sources = [source.policy for source in view.auxiliary.values()]
    return [view.policy, view.prompt, *view.statistics.values(), *view.heads.values(), *sources]


def outcome(objective: Objective, view: View) -> list[Tensor]:
    """Loss, then the gradient by every leaf of the view."""
    loss = objective(view).loss
    slopes = torch.autograd.grad(loss, leaves_of(view), materialize_grads=True)
    return [loss.detach(), *slopes]


def agree(one: list[Tensor], other: list[Tensor]) -> bool:
    """Whether two outcomes are the same up to the order of float64 sums."""
    pairs = list(zip(one, other, strict=True))
    scale = max(float(a.abs().max()) for a in [*one, *other] if a.numel()) + 1e-30
    return all(torch.allclose(a, b, rtol=EXACT, atol=EXACT * scale * 1e-3) for a, b in pairs)


# ---------------------------------------------------------------------------------- checks


def no_knob_is_dead(recipe: Recipe) -> None:
    """Each knob, set to two values, gives two losses, gradients or needs."""
    views = [sample_view(), at_start(sample_view())]
    for knob in recipe.knobs:
        settings = recipe.when.get(knob.name, {})
        objectives = [recipe.build(**{**settings, knob.name: v}) for v in two_values(recipe, knob)]
        one, other = ([outcome(o, view) for view in views] for o in objectives)
        same = all(agree(a, b) for a, b in zip(one, other, strict=True))
        assert not same or objectives[0].needs != objectives[1].needs, (
            f"{recipe.name}({knob.name}=) changes nothing"
        )


def its_limits_hold(recipe: Recipe) -> None:
    """At the knobs that `limits` names, the recipe is the other one."""
    view = sample_view()
    for name, settings in recipe.limits.items():
        other = SHELF[name]
        mine = {k.name: k.default for k in recipe.knobs if k.default is not Parameter.empty}
        shared = {k.name: mine[k.name] for k in other.knobs if k.name in mine}
        shared = {k: v for k, v in shared.items() if k not in settings}
        limit, target = recipe.build(**settings), other.build(**shared)
        assert agree(outcome(limit, view), outcome(target, view)), f"{limit!r} is not {target!r}"


def it_prints_as_an_expression(recipe: Recipe) -> None:
    """`parse(repr(objective)) == objective`, at the example and at every other knob value."""
    for knob in (None, *recipe.knobs):
        settings: dict[str, Any] = dict(recipe.when.get(knob.name, {})) if knob else {}
        if knob is not None:
            settings[knob.name] = two_values(recipe, knob)[1]
        objective = recipe.build(**settings)
        assert parse(repr(objective)) == objective, f"{objective!r} does not parse back"


def the_order_of_rows_is_free(recipe: Recipe) -> None:
    """Rows in another order: the same loss."""
    view, objective = sample_view(), recipe.build()
    rows = [part(view, i, i + 1) for i in range(view.num_groups)]
    turned = whole(rows[3:] + rows[:3])
    losses = [float(objective(rows).loss.detach()) for rows in (view, turned)]
    assert math.isclose(*losses, rel_tol=EXACT), f"{objective!r} depends on the order of rows"


def parts_of_a_step_add_up(recipe: Recipe) -> None:
    """The losses of micro-batches sum to the loss of the step, unless the batch is coupled."""
    view, objective = sample_view(), recipe.build()
    if objective.needs.couples == "batch":
        return
    cut = [part(view, i, j) for i, j in ((0, 2), (2, 3), (3, view.num_groups))]
    total = sum(float(objective(piece).loss.detach()) for piece in cut)
    assert math.isclose(float(objective(view).loss.detach()), total, rel_tol=EXACT), (
        f"{objective!r} depends on how the step is cut"
    )


def only_the_policy_learns(recipe: Recipe) -> None:
    """No gradient into references, scores, win probabilities or unconditional log-probs."""
    view = sample_view()
    data = ("references", "scores", "win_probability", "unconditional")
    fixed: dict[str, Any] = {name: _leaf(view.need(name).clone()) for name in data}
    loss = recipe.build()(replace(view, **fixed)).loss
    slopes = torch.autograd.grad(loss, list(fixed.values()), allow_unused=True)
    moved = [name for name, slope in zip(data, slopes, strict=True) if slope is not None]
    assert not moved, f"{recipe.name} sends a gradient into {moved}"


def it_stays_finite(recipe: Recipe) -> None:
    """Finite loss and gradient in float32: at the start, and for log-ratios of +-1e4."""
    objective, view = recipe.build(), sample_view(dtype=torch.float32)
    assert view.references is not None
    far = torch.where(view.response % 2 == 0, -1e4, -1e-3).float()
    near = torch.where(view.response % 2 == 0, -1e-3, -1e4).float()
    views = {"at the start": at_start(view)}
    for name, policy in {"far up": near, "far down": far}.items():
        opposite = (far + near - policy).expand_as(view.references)
        views[name] = replace(view, policy=_leaf(policy.clone()), references=opposite)
    for name, case in views.items():
        finite = all(bool(torch.isfinite(values).all()) for values in outcome(objective, case))
        assert finite, f"{objective!r} is not finite {name}"


CHECKS: tuple[Callable[[Recipe], None], ...] = (
    no_knob_is_dead,
    its_limits_hold,
    it_prints_as_an_expression,
    the_order_of_rows_is_free,
    parts_of_a_step_add_up,
    only_the_policy_learns,
    it_stays_finite,
)


def check_recipe(recipe: Callable[..., Objective]) -> None:
    """Run every check on a recipe.

    Raises:
        AssertionError: the first check that fails, in a sentence.
    """
    for check in CHECKS:
        check(SHELF[recipe.__name__])


# ---------------------------------------------------------------------------------- knobs


def two_values(recipe: Recipe, knob: Parameter) -> tuple[Any, Any]:
    """A knob's default (or example) and another value that it may have."""
    first = recipe.when.get(knob.name, {}).get(
        knob.name, recipe.example.get(knob.name, knob.default)
    )
    others = [value for value in values_of(knob.annotation, first) if value != first]
    return first, others[0]


def values_of(kind: Any, near: Any) -> list[Any]:
    """Some values of a knob's type, numbers close to a given one."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return list(arguments)
    if origin in (Union, UnionType):
        return [value for argument in arguments for value in values_of(argument, near)]
    if origin is Annotated:
        ranges = [r for r in arguments[1:] if isinstance(r, Interval)]
        return [v for v in _numbers(near) if all(v in interval for interval in ranges)]
    if origin is tuple:
        return [values for value in values_of(arguments[0], near)[:1] for values in [(value,)]]
    return _PLAIN.get(kind, [dpo(), hinge()])


def _numbers(near: Any) -> list[float]:
    is_number = isinstance(near, int | float) and not isinstance(near, bool)
    return [0.5 * near, 2.0 * near, 0.75] if is_number and near else [0.5, 0.25, 1.0]


_PLAIN: Mapping[Any, list[Any]] = {
    bool: [False, True],
    str: list(SOURCES),
    NoneType: [None],
    float: [0.5, 0.25],
    int: [1, 2],
}

__all__ = ["CHECKS", "at_start", "check_recipe", "sample_view"]
