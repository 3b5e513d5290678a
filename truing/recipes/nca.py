"""InfoNCA and NCA: the responses told from noise, with hard labels or with scores."""

from truing.objectives import (
    CrossEntropy,
    ListLoss,
    ListNoiseContrast,
    Listwise,
    NoiseContrast,
    Objective,
    Pairwise,
)
from truing.recipes._recipe import NonNegative, Positive, no_effect, recipe


@recipe(
    source="arXiv:2402.05369; code thu-ml/Noise-Contrastive-Alignment",
    limits={"dpo": {"alpha": None}},
    when={"first_bonus": {"alpha": 1.0}},
)
def infonca(
    beta: Positive = 0.01, alpha: Positive | None = None, first_bonus: NonNegative = 0.0
) -> Objective:
    r"""DPO for K scored responses: the policy's shares should match the scores' shares.

        loss = -sum_i p_i * log softmax_i(beta * r),  p = softmax(s / alpha); mean over prompts

    r (nats): log-ratio to the reference, summed over response tokens. With pairs and a hard label
    this is DPO; with beta_reward for alpha it is the dpo-rw loss of EXO's code.

    Args:
        beta: as in dpo.
        alpha: temperature of the scores (the code's knob is 1 / alpha); None: pairs, hard label.
        first_bonus: added to the score of each prompt's first response; 0.01 in the released code.
    """
    return _form("infonca", Pairwise(beta=beta), CrossEntropy(), alpha, first_bonus)


@recipe(
    source="arXiv:2402.05369; code thu-ml/Noise-Contrastive-Alignment, trl 1.16 (nca_pair)",
    when={"first_bonus": {"alpha": 1.0}},
)
def nca(
    beta: Positive = 0.01, alpha: Positive | None = None, first_bonus: NonNegative = 0.0
) -> Objective:
    r"""Raise the chosen response absolutely: its likelihood does not fall as under DPO.

        pairs: loss = -log sigmoid(b w) - 1/2 log sigmoid(-b w) - 1/2 log sigmoid(-b l)
        K responses: loss = -sum_i p_i log sigmoid(b r_i) - mean_i log sigmoid(-b r_i)
        p = softmax(s / alpha); w, l: r of chosen and rejected; b: beta

    r (nats): log-ratio to the reference, summed over response tokens.

    Args:
        beta: 0.01 to 0.1.
        alpha: temperature of the scores (the code's knob is 1 / alpha); None: pairs, hard label.
        first_bonus: added to the score of each prompt's first response; 0.01 in the released code.
    """
    pair = Pairwise(beta=beta, loss=NoiseContrast())
    return _form("nca", pair, ListNoiseContrast(), alpha, first_bonus)


def _form(
    name: str, pair: Pairwise, loss: ListLoss, alpha: float | None, first_bonus: float
) -> Objective:
    if alpha is not None:
        return Listwise(beta=pair.beta, temperature=alpha, loss=loss, first_bonus=first_bonus)
    if first_bonus:
        raise no_effect(name, "first_bonus", "no scores are read", "give alpha, or leave it out")
    return pair
