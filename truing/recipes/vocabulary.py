"""Losses that look at the whole vocabulary at each position: WPO and TDPO."""

from typing import Literal

from truing.objectives import DivergenceGap, Objective, OnPolicy, Pairwise
from truing.recipes._recipe import NonNegative, Positive, no_effect, recipe

_ALPHA = 0.5


@recipe(source="arXiv:2406.11827; code wzhouad/WPO, trl 1.16 (without the cap)")
def wpo(beta: Positive = 0.01, capped: bool = True) -> Objective:
    r"""DPO on pairs weighted by how likely the policy itself would have written them.

        loss = min(1, v_chosen * v_rejected) * -log sigmoid(beta * (r_chosen - r_rejected))
        log v(y) = mean over tokens of [log pi(y_t) - log sum_v pi(v)^2], without gradient

    r (nats): log-ratio to the reference, summed over response tokens.

    Args:
        beta: as in dpo; 0.01 in the paper.
        capped: the product of both weights is at most 1 (authors); TRL has no cap.
    """
    return Pairwise(beta=beta, weight=OnPolicy(is_capped=capped))


@recipe(source="arXiv:2404.11999; code Vance0124/Token-level-Direct-Preference-Optimization")
def tdpo(
    version: Literal[1, 2] = 2, beta: Positive = 0.1, alpha: NonNegative = _ALPHA
) -> Objective:
    r"""DPO that also watches the divergence from the reference at each token.

        version 1: loss = -log sigmoid(beta * (h - (D_rejected - D_chosen)))
        version 2: loss = -log sigmoid(beta * (h - alpha * (D_rejected - sg[D_chosen])))
        h = r_chosen - r_rejected,  D = sum over positions of KL(reference || policy)

    r (nats): log-ratio to the reference, summed over response tokens. The reference runs at every
    step, for its whole distributions.

    Args:
        version: 1 or 2; the released code's switch stands on 1.
        beta: as in dpo.
        alpha: weight of the divergences in version 2; 0.5, up to 1.5.
    """
    if version == 1 and alpha != _ALPHA:
        raise no_effect("tdpo", "alpha", "version 1 has no alpha", "use version=2")
    weight = alpha if version == 2 else 1.0
    gap = DivergenceGap(weight=weight, is_chosen_detached=version == 2)
    return Pairwise(beta=beta, inner=gap)
