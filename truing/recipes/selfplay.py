"""Regression to win rates and to scores: SPPO and REBEL, with fresh responses in each round."""

from truing.objectives import Objective, Pairwise, ScoreGap, Squared, WinRate
from truing.recipes._recipe import Positive, no_effect, recipe


@recipe(source="arXiv:2405.00675; code uclaml/SPPO, trl 1.16 (sppo_hard)")
def sppo(
    beta: Positive = 1e-3, hard: bool = False, halved: bool = True, single: bool = False
) -> Objective:
    r"""Self-play: each response's log-ratio goes to its win rate against the policy itself.

        loss = [(w - (P_chosen - 1/2) / beta)^2 + (l - (P_rejected - 1/2) / beta)^2] / 2

    w, l (nats): log-ratios of chosen and rejected to the reference, summed over response tokens.
    P: win probability of the data, against the K samples of the prompt.

    Args:
        beta: the targets are (P - 1/2) / beta nats.
        hard: P is 1 and 0, no win probabilities are read.
        halved: the authors' mean of both squares; False: their sum (TRL).
        single: the rejected side's P is 1 - P_chosen (the authors' sppo_single).
    """
    if hard and single:
        raise no_effect("sppo", "single", "hard win rates add up to 1", "leave one of both out")
    share = 0.5 if halved else 1.0
    loss = WinRate(unit=beta, share=share, is_hard=hard, is_single=single)
    return Pairwise(beta=beta, loss=loss)


@recipe(source="arXiv:2404.16767; code ZhaolinGao/REBEL")
def rebel(eta: Positive = 1e6) -> Objective:
    r"""Regress the difference of rewards: the gap of log-ratios should be eta times the score gap.

        loss = (r_chosen - r_rejected - eta * (s_chosen - s_rejected))^2

    r (nats): log-ratio to the previous round's policy, summed over response tokens.

    Args:
        eta: nats per unit of score; 1e2 to 1e6, 1e6 in the authors' code.
    """
    offset = ScoreGap(weight=eta, scale="identity")
    return Pairwise(beta=1.0, offset=offset, loss=Squared(target=0.0))
