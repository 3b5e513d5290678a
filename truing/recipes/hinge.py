"""Hinge losses on pairs."""

from truing.objectives import NLL, Hinge, Objective, Pairwise, PolicyLogp
from truing.recipes._recipe import NonNegative, Positive, recipe


@recipe(source="arXiv:2309.06657 (RSO); code trl 1.16 (hinge)")
def hinge(beta: Positive = 0.05, delta: Positive = 1.0) -> Objective:
    r"""A margin of delta is enough: pairs beyond it have no gradient.

        loss = max(0, delta - beta * (r_chosen - r_rejected))

    r (nats): log-ratio to the reference, summed over response tokens. No slope at the kink.

    Args:
        beta: 1/nats; RSO's gamma, 0.05 there.
        delta: the margin that is enough; 1 in RSO and TRL.
    """
    return Pairwise(beta=beta, loss=Hinge(at=delta))


@recipe(
    source="arXiv:2305.10425; code turbo-llm/turbo-alignment (pair term)",
    example={"lam": 0.1},
)
def slic(
    lam: NonNegative,
    delta: Positive = 1.0,
    beta: Positive = 1.0,
    source: str | None = None,
) -> Objective:
    r"""A hinge on the policy's own log-probs, held in place by likelihood instead of a reference.

        loss = max(0, delta - beta * (L_chosen - L_rejected)) - lam * mean of L(y_target)

    L (nats): log-prob summed over response tokens.

    Args:
        lam: weight of the likelihood term; 0.1 to 10 were used.
        delta: the margin that is enough; 0.1 to 2 were used.
        beta: 1 in the paper.
        source: auxiliary source of the targets; None: the chosen responses, as SimPO's rerun.
    """
    pair = Pairwise(beta=beta, likelihood=PolicyLogp(), loss=Hinge(at=delta))
    return pair + lam * NLL(reduction="sum", source=source)
