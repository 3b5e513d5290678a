"""Losses of a whole batch: sorted, tilted, or adapted to its gaps."""

from typing import Annotated

from truing.core.knobs import Interval
from truing.objectives import (
    BatchStrength,
    Constant,
    Logistic,
    LogMeanExp,
    NearTypical,
    Objective,
    Pairwise,
    PolicyLogp,
    Selected,
    SortedGaps,
    SortedSides,
    TokenMean,
    TypicalGap,
    WeightedMean,
)
from truing.recipes._recipe import Fraction, NonNegative, Positive, recipe

FlipShare = Annotated[float, Interval(0.0, 0.5, is_high_open=True)]


@recipe(source="arXiv:2406.05882; code trl 1.16 (aot, aot_unpaired)")
def aot(beta: Positive = 0.01, paired: bool = True, epsilon: FlipShare = 0.0) -> Objective:
    r"""Let the whole distribution of rewards of one kind lie above that of the other.

        paired:   z_i = beta * (i-th smallest policy gap - i-th smallest reference gap)
        unpaired: z_i = beta * (i-th smallest r of the chosen - i-th smallest r of the rejected)
        loss = mean of -log sigmoid(z_i)

    Gaps (nats): chosen minus rejected log-prob, summed over response tokens. Sorted over the whole
    optimizer step, on all devices; TRL sorts within a device's micro-batch.

    Args:
        beta: 1/nats.
        paired: sort gaps; False: sort the two kinds apart.
        epsilon: share of flipped labels, as in cdpo.
    """
    margin = SortedGaps() if paired else SortedSides()
    return Pairwise(beta=beta, margin=margin, loss=Logistic(smoothing=epsilon))


@recipe(source="arXiv:2407.07880; code junkangwu/Dr_DPO")
def dr_dpo(beta: Positive = 0.1, beta_prime: Positive = 1.0) -> Objective:
    r"""DPO that distrusts pairs with a large loss: they may be mislabelled.

        loss = -beta_prime * log mean_i exp(-loss_i / beta_prime),  loss_i: DPO's

    The mean runs over the whole optimizer step; the authors' over a micro-batch.

    Args:
        beta: as in dpo.
        beta_prime: towards infinity this is DPO.
    """
    return Pairwise(beta=beta, reduce=LogMeanExp(temperature=beta_prime))


@recipe(source="arXiv:2407.08639; code junkangwu/beta-DPO")
def beta_dpo(
    beta: Positive = 0.1, a: NonNegative = 0.6, filtered: Fraction = 0.2, ema: Fraction = 0.9
) -> Objective:
    r"""DPO whose beta follows the quality of the batch, without the batch's odd pairs.

        beta_i = max(1e-3, beta * (1 + a * (mean of selected h - M)))
        loss = mean over selected pairs of -log sigmoid(beta_i * h),  h = r_chosen - r_rejected

    A share 1 - filtered of the pairs is drawn with weights exp(-((h - M) / s)^2 / 2). M and s: EMA
    of mean and deviation of h over steps, from 0, updated before use. beta_i has no gradient.

    Args:
        beta: as in dpo.
        a: how strongly beta follows.
        filtered: share of pairs left out of each step.
        ema: how much of M and s is kept at each step; 1 freezes the given state.
    """
    near = NearTypical(filtered=filtered, ema=ema)
    return Pairwise(
        beta=beta,
        margin=BatchStrength(selection=near, slope=a, floor=1e-3 / beta),
        weight=Selected(selection=near),
        reduce=WeightedMean(),
    )


@recipe(source="arXiv:2410.10148; code junkangwu/alpha-DPO", limits={"simpo": {"alpha": 0.0}})
def alpha_dpo(
    beta: Positive = 10.0,
    gamma: NonNegative = 4.0,
    alpha: NonNegative = 0.2,
    ema: Fraction = 0.9,
) -> Objective:
    r"""SimPO whose margin adapts to each pair: how its gap of log-ratios compares with the usual.

        loss = -log sigmoid(beta * (Lbar_chosen - Lbar_rejected - alpha * (g - mu) / s) - gamma)

    g (nats): gap of mean log-ratios to the reference; mu and s: EMA of its mean and deviation over
    steps, from 0, updated before use. The adaptive part has no gradient.

    Args:
        beta: 2.5 to 10.
        gamma: outside beta: beta times the authors' gamma / beta ratio (0.3 to 0.4).
        alpha: nats per deviation; 0.05 to 0.2.
        ema: how much of mu and s is kept at each step; 1 freezes the given state.
    """
    return Pairwise(
        beta=beta,
        likelihood=PolicyLogp(pool=TokenMean()),
        inner=TypicalGap(weight=alpha, ema=ema),
        offset=Constant(value=gamma),
    )
