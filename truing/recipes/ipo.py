"""IPO: a finite target for the margin."""

from truing.objectives import LogRatio, Objective, Pairwise, Squared, TokenMean, TokenSum
from truing.recipes._recipe import Positive, recipe


@recipe(
    source="arXiv:2310.12036; code trl 1.16 (ipo), eric-mitchell/direct-preference-optimization"
)
def ipo(beta: Positive = 0.1, average: bool = True) -> Objective:
    r"""Bring the margin to a finite target instead of pushing it on for ever.

        loss = (r_chosen - r_rejected - 1 / (2 beta))^2

    beta is the paper's tau: it sets the target and multiplies nothing. The paper's Eq. 17 and the
    code of eric-mitchell use sums; TRL divides each r by its length and says that the authors
    confirmed that form for the published results.

    Args:
        beta: the target gap is 1 / (2 beta) nats; 0.1 is usual.
        average: r is the mean over response tokens (TRL, HALOs); False: the sum.
    """
    pool = TokenMean() if average else TokenSum()
    return Pairwise(beta=beta, likelihood=LogRatio(pool=pool), loss=Squared(target=0.5, unit=beta))
