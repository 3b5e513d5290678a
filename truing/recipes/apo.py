"""Anchored PO: where both sides should end, not only how far apart."""

from truing.objectives import AnchoredDown, AnchoredZero, Objective, Pairwise, Pointwise
from truing.recipes._recipe import Positive, recipe


@recipe(source="arXiv:2408.06266; code trl 1.16 (apo_zero, apo_zero_unpaired)")
def apo_zero(beta: Positive = 0.1, unpaired: bool = False) -> Objective:
    r"""Chosen more likely, rejected less likely than under the reference.

        loss = 1 - sigmoid(beta * r_chosen) + sigmoid(beta * r_rejected)

    For chosen responses that are better than what the model writes.

    Args:
        beta: 1/nats.
        unpaired: single responses with labels, mean over responses.
    """
    if unpaired:
        return Pointwise(beta=beta)
    return Pairwise(beta=beta, loss=AnchoredZero())


@recipe(source="arXiv:2408.06266; code trl 1.16 (apo_down)")
def apo_down(beta: Positive = 0.1) -> Objective:
    r"""Both less likely than under the reference, the rejected one further.

        loss = sigmoid(beta * r_chosen) + 1 - sigmoid(beta * (r_chosen - r_rejected))

    For a model that already writes better than the chosen responses.

    Args:
        beta: 1/nats.
    """
    return Pairwise(beta=beta, loss=AnchoredDown())
