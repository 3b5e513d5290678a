"""Against the pull of length: an offset, a discounted tail, a decay."""

from truing.objectives import Decay, LengthGap, LogRatio, Objective, Pairwise, Tail, Whole
from truing.recipes._recipe import Fraction, NonNegative, Positive, recipe


@recipe(source="arXiv:2403.19159; code LuJunru/SamPO (lenN)", limits={"dpo": {"alpha": 0.0}})
def r_dpo(beta: Positive = 0.1, alpha: NonNegative = 0.01) -> Objective:
    r"""DPO regularised for length: the pair of a longer chosen response has less to prove.

        loss = -log sigmoid(beta * (r_chosen - r_rejected) + alpha * (|y_chosen| - |y_rejected|))

    The plus is the paper's (the optimal policy of reward minus alpha times length); two public
    repositories have a minus.

    Args:
        beta: as in dpo.
        alpha: per token of length difference; 0.01 in SamPO's comparison, up to 1 in SimPO's.
    """
    return Pairwise(beta=beta, offset=LengthGap(weight=alpha))


@recipe(
    source="arXiv:2409.06411; code trl 1.16 (ld_alpha), hiyouga/LLaMA-Factory (policy only)",
    limits={"dpo": {"alpha": 1.0}},
)
def ld_dpo(
    beta: Positive = 0.1, alpha: Fraction = 0.5, discount_reference: bool = True
) -> Objective:
    r"""DPO in which tokens past the shorter response's length count less.

        r = sum_{t <= m} rho_t + alpha * sum_{t > m} rho_t,   m = min(|y_chosen|, |y_rejected|)
        loss = -log sigmoid(beta * (r_chosen - r_rejected))

    Whether the paper discounts the reference was not checked.

    Args:
        beta: as in dpo.
        alpha: what a token past m counts; 1 is DPO. 0.5 in TRL's documentation.
        discount_reference: policy and reference alike (TRL 1.16); False: the policy only
            (LLaMA-Factory, older TRL).
    """
    reference = None if discount_reference else Whole()
    ratio = LogRatio(policy=Tail(share=alpha), reference=reference)
    return Pairwise(beta=beta, likelihood=ratio)


@recipe(source="arXiv:2502.14340; code LotuSrc/D2PO", limits={"dpo": {"gamma": 1.0}})
def d2po(beta: Positive = 0.1, gamma: Fraction = 0.98) -> Objective:
    r"""DPO in which early tokens count most.

        r = sum_t gamma^t * rho_t,   t = 1 for the first token, policy and reference alike
        loss = -log sigmoid(beta * (r_chosen - r_rejected))

    Args:
        beta: as in dpo.
        gamma: decay per token; 0.95 to 0.98, 1 is DPO.
    """
    return Pairwise(beta=beta, likelihood=LogRatio(policy=Decay(rate=gamma)))
