"""ODPO: a pair with a wide score gap asks for a wide margin."""

from typing import Literal

from truing.objectives import Objective, Pairwise, ScoreGap
from truing.recipes._recipe import NonNegative, Positive, recipe


@recipe(source="arXiv:2402.10571; code rycolab/odpo", limits={"dpo": {"alpha": 0.0}})
def odpo(
    beta: Positive = 0.1,
    alpha: NonNegative = 1.0,
    scale: Literal["log", "identity", "logratio"] = "log",
) -> Objective:
    r"""DPO whose margin must exceed an offset that grows with the score gap.

        loss = -log sigmoid(beta * (r_chosen - r_rejected) - alpha * f(s_chosen, s_rejected))

    r (nats): log-ratio to the reference, summed over response tokens, end token included.
    The offset stands outside beta and carries no gradient.

    Args:
        beta: strength of the tie to the reference, 1/nats; the authors sweep 0.05 to 5.
        alpha: offset per unit of f; 0 is DPO.
        scale: f. "log": log(s_chosen - s_rejected), needs s_chosen > s_rejected in every pair and
            is negative where the gap is below 1; "identity": the gap itself; "logratio":
            log(s_chosen / s_rejected), positive scores.
    """
    return Pairwise(beta=beta, offset=ScoreGap(weight=alpha, scale=scale))
