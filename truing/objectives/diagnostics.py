"""Metrics: what TRL's dashboards show, and how far the policy has gone on both sides.

Every metric is a sum over pairs (or responses) divided by the step's global count, so that the
values of micro-batches and ranks add up. All are detached. P pairs, S sides, N responses.
"""

from collections.abc import Mapping

from jaxtyping import Bool, Float
from torch import Tensor

from truing.core.sides import Sides
from truing.core.view import View


def of_policy(view: View) -> Mapping[str, Float[Tensor, ""]]:
    """Log-probs, lengths and drift from the first reference (nats, sums) of both sides.

    Nothing for a view without pairs; drift only where the view has a reference.
    """
    if not view.num_pairs:
        return {}
    sides = view.sides
    logps = sides.totals(view.policy.detach())
    table = {"logps": logps, "lengths": sides.lengths.to(logps.dtype)}
    if view.references is not None or view.reference_sums is not None:
        table["logps_drift"] = logps - view.reference_totals(sides)[0]
    return {
        f"{name}/{side}": values.sum() / max(view.counts.pairs, 1)
        for name, both in table.items()
        for side, values in zip(("chosen", "rejected"), sides.halves(both), strict=True)
    }


def of_pairs(rewards: Float[Tensor, "S"], sides: Sides) -> Mapping[str, Float[Tensor, ""]]:
    """rewards/chosen, /rejected, /margins and /accuracies of beta x likelihood of each side."""
    chosen, rejected = sides.halves(rewards.detach())
    table = {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": chosen - rejected,
        "rewards/accuracies": (chosen > rejected).to(chosen.dtype),
    }
    count = max(sides.view.counts.pairs, 1)
    return {name: values.sum() / count for name, values in table.items()}


def of_responses(
    rewards: Float[Tensor, "N"], is_desirable: Bool[Tensor, "N"], view: View
) -> Mapping[str, Float[Tensor, ""]]:
    """rewards/chosen over desirable responses and rewards/rejected over the others."""
    chosen, counts = view.counts.chosen, view.counts
    values = rewards.detach()
    return {
        "rewards/chosen": values[is_desirable].sum() / max(chosen, 1),
        "rewards/rejected": values[~is_desirable].sum() / max(counts.responses - chosen, 1),
    }
