"""Averaged likelihoods: any contrastive objective with token means in place of sums."""

from dataclasses import replace

from truing.errors import KnobError
from truing.objectives import Objective, Pairwise, Scaled, TokenMean, TokenSum
from truing.recipes._recipe import recipe
from truing.recipes.dpo import dpo


@recipe(
    source="arXiv:2406.19188; code trl 1.16 (sigmoid_norm, ipo)",
    example={"objective": dpo(beta=5.0)},
)
def averaged(objective: Objective) -> Objective:
    r"""A contrastive objective whose likelihoods are means over tokens, whatever the lengths.

        r(y) = sum_t rho_t   becomes   r(y) / |y|

    The margin shrinks by about |y|, so the same pull needs a beta about |y| times larger: Tulu 3
    uses 5. averaged(dpo()) is TRL's sigmoid_norm, averaged(ipo(average=False)) its ipo.

    Args:
        objective: a pairwise objective of sums, such as dpo(), hinge() or ipo(average=False).
    """
    if isinstance(objective, Scaled):
        return objective.factor * averaged(objective.objective)
    if not isinstance(objective, Pairwise):
        raise KnobError(
            f"{objective!r} is not one contrastive loss on pairs",
            where="averaged(objective=)",
            fix="average its pairwise term alone: averaged(dpo(beta=5.0)) + 0.2*sft()",
        )
    if objective.likelihood.pool != TokenSum():
        raise KnobError(
            f"has no effect: {objective!r} takes its likelihoods by length already",
            where="averaged(objective=)",
            fix="leave averaged(...) out, or average the form of sums, such as ipo(average=False)",
        )
    return replace(objective, likelihood=replace(objective.likelihood, pool=TokenMean()))
