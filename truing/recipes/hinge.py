"""Hinge losses on pairs."""

from truing.objectives import Hinge, Objective, Pairwise
from truing.recipes._recipe import Positive, recipe


@recipe(source="arXiv:2309.06657 (RSO); code trl 1.16 (hinge)")
def hinge(beta: Positive = 0.05) -> Objective:
    r"""A margin of 1 is enough: pairs beyond it have no gradient.

        loss = max(0, 1 - beta * (r_chosen - r_rejected))

    Args:
        beta: 1/nats; RSO's gamma, 0.05 there.
    """
    return Pairwise(beta=beta, loss=Hinge())
