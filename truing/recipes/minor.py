"""MinorDPO and MinorSFT: a push that ends where the reference is reached."""

from truing.objectives import (
    Logistic,
    LogRatio,
    Objective,
    Pairwise,
    Pointwise,
    PositivePart,
    TokenMean,
    TokenSum,
)
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


@recipe(source="arXiv:2408.10642; code pytorch/rl (minor_sft_loss, a third party's)")
def minor_sft(beta: Positive = 0.1, scaled: bool = False, average: bool = False) -> Objective:
    r"""Fine-tuning that slows down where the policy has left the reference behind.

        loss = -log sigmoid(beta * r(y)) over the chosen (or desirable) responses

    r (nats): log-ratio to the reference, summed over response tokens. The paper scales so that the
    weight is 1 at the start; how exactly was not checked, so both pieces are knobs.

    Args:
        beta: how fast it slows down, 1/nats.
        scaled: times 2 / beta, so that the gradient begins as that of plain likelihood.
        average: r is the mean over response tokens.
    """
    pool = TokenMean() if average else TokenSum()
    loss = Pointwise(
        beta=beta, likelihood=LogRatio(pool=pool), loss=Logistic(), is_desirable_only=True
    )
    return (2.0 / beta) * loss if scaled else loss
