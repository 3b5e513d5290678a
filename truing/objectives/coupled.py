"""The two passes of an objective that couples the examples of an optimizer step.

First pass: log-probs of all rows without gradient, `gradients` of the objective over the whole
step. Second pass: the rows again, in any micro-batches, with gradient; backward of `injected` adds
up to the gradient that one big batch would have had.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from truing.core.view import View
from truing.objectives.objective import Objective, Terms


@dataclass(frozen=True, eq=False)
class Gradients:
    """What the first pass gives.

    Args:
        terms: of the whole step, detached.
        slopes: the view with the loss's derivatives in place of `policy`, `prompt`, `statistics`,
            `heads`, and those of its auxiliary sources. `truing.core.joining.part` cuts it into
            the rows of a micro-batch as it cuts a view.
    """

    terms: Terms
    slopes: View


def gradients(objective: Objective, view: View) -> Gradients:
    """The objective over a whole step, and its gradient by everything the models below computed.

    Args:
        objective: any; those that couple nothing give the same by micro-batches.
        view: the whole step; gradients that its tensors carry are not followed.

    Raises:
        NeedsError: the view lacks what the objective needs.
    """
    leaves: list[Tensor] = []
    with torch.enable_grad():
        terms = objective(_on_leaves(view, leaves))
        known = iter(torch.autograd.grad(terms.loss, leaves, materialize_grads=True))
    slopes = _mapped(view, lambda _: next(known))
    return Gradients(replace(terms, loss=terms.loss.detach()), slopes)


def injected(view: View, slopes: View) -> Float[Tensor, ""]:
    """A scalar whose gradient is the step's: the sum of every value times its slope.

    Args:
        view: some rows of the step, computed again with gradient.
        slopes: of the same rows.
    """
    total = (view.policy * slopes.policy).sum()
    if view.prompt is not None and slopes.prompt is not None:
        total = total + (view.prompt * slopes.prompt).sum()
    for values, theirs in ((view.statistics, slopes.statistics), (view.heads, slopes.heads)):
        for name, value in values.items():
            total = total + (value * theirs[name]).sum()
    for name, source in view.auxiliary.items():
        total = total + injected(source, slopes.auxiliary[name])
    return total


def _on_leaves(view: View, leaves: list[Tensor]) -> View:
    """The view on detached tensors that ask for gradients, listed in the order of the walk."""

    def leaf(value: Tensor) -> Tensor:
        leaves.append(value.detach().clone().requires_grad_())
        return leaves[-1]

    return _mapped(view, leaf)


def _mapped(view: View, change: Callable[[Tensor], Tensor]) -> View:
    """The view with every tensor changed that can carry a gradient, always in the same order."""

    def named(values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {name: change(value) for name, value in values.items()}

    return replace(
        view,
        policy=change(view.policy),
        prompt=None if view.prompt is None else change(view.prompt),
        statistics=named(view.statistics),
        heads=named(view.heads),
        auxiliary={name: _mapped(source, change) for name, source in view.auxiliary.items()},
    )
