"""MinorDPO and MinorSFT: a push that ends where the reference is reached."""

from truing.objectives import Objective, Pairwise, PositivePart
from truing.recipes._recipe import Fraction, Positive, recipe


@recipe(source="arXiv:2408.09834 (loss; the tables were not checked)")
def minor_dpo(beta: Positive = 0.1, at_zero: Fraction = 1.0) -> Objective:
    r"""DPO that stops pushing the rejected response down once it is below the reference.

        loss = -log sigmoid(beta * r_chosen - beta * max(0, r_rejected))

    r (nats): log-ratio to the reference, summed over response tokens. Where r_rejected < 0 the
    rejected response has no gradient at all.

    Args:
        beta: as in dpo.
        at_zero: the derivative of max(0, r) at exactly 0, where a run begins whose reference is
            its own start. 1: the first step pushes the rejected response down (as torch.clamp);
            0: it only raises the chosen one (as relu). The paper does not say.
    """
    return Pairwise(beta=beta, rejected=PositivePart(at_zero=at_zero))
