"""Against falling likelihood of the chosen response: penalties, shifts, targets."""

from truing.objectives import (
    Calibrated,
    Constrained,
    Objective,
    Pairwise,
    Penalized,
    Times,
    Weaker,
)
from truing.recipes._recipe import Fraction, NonNegative, Positive, recipe


@recipe(source="arXiv:2402.13228 (Smaug); code LuJunru/SamPO (dpop)", limits={"dpo": {"lam": 0.0}})
def dpop(beta: Positive = 0.3, lam: NonNegative = 50.0, at_zero: Fraction = 0.0) -> Objective:
    r"""DPO that pays when the chosen response becomes less likely than under the reference.

        loss = -log sigmoid(beta * (r_chosen - r_rejected - lam * max(0, -r_chosen)))

    r (nats): log-ratio to the reference, summed over response tokens. lam stands inside beta.

    Args:
        beta: as in dpo; 0.3 in the paper.
        lam: weight of the penalty; 5 to 500.
        at_zero: the derivative of max(0, x) at exactly 0, where a run begins whose reference is
            its own start; 0 as relu.
    """
    return Pairwise(beta=beta, chosen=Penalized(weight=lam, at_zero=at_zero))


@recipe(
    source="arXiv:2502.07599; code warlockee/oxRL (a third party's)",
    limits={"dpo": {"lam": 1.0}},
    example={"lam": 0.75},
)
def dpo_shift(lam: Fraction, beta: Positive = 0.1) -> Objective:
    r"""DPO that pushes the rejected response less than it raises the chosen one.

        loss = -log sigmoid(beta * r_chosen - lam * beta * r_rejected)

    Args:
        lam: share of the rejected side; 0.5 to 0.95, 1 is DPO. The paper also has schedules.
        beta: as in dpo.
    """
    return Pairwise(beta=beta, rejected=Times(factor=lam))


@recipe(source="arXiv:2412.14516; code turbo-llm/turbo-alignment (a third party's)")
def cal_dpo(beta: Positive = 1e-3) -> Objective:
    r"""DPO with a target for each side's reward, so that its scale means something.

        loss = -log sigmoid(r_chosen - r_rejected)
               + (r_chosen - 1 / (2 beta))^2 + (r_rejected + 1 / (2 beta))^2

    r (nats): log-ratio to the reference, summed over response tokens. The first term has no beta.

    Args:
        beta: the targets are +-1 / (2 beta) nats.
    """
    return Pairwise(beta=beta, loss=Calibrated(unit=beta))


@recipe(
    source="arXiv:2502.17507; code warlockee/oxRL (a third party's)", limits={"dpo": {"lam": 0.0}}
)
def c2_dpo(beta: Positive = 0.1, lam: NonNegative = 2e-4) -> Objective:
    r"""DPO in which what one side gains the other must lose.

        loss = -log sigmoid(beta * (r_chosen - r_rejected)) + lam * (r_chosen + r_rejected)^2

    Args:
        beta: as in dpo.
        lam: weight of the constraint, 1/nats^2.
    """
    return Pairwise(beta=beta, loss=Constrained(weight=lam, unit=beta))


@recipe(source="arXiv:2506.03557; code warlockee/oxRL (a third party's)")
def bpo(beta: Positive = 0.1) -> Objective:
    r"""DPO on whichever is behind: raising the chosen or lowering the rejected response.

        loss = -log sigmoid(beta * min(r_chosen, -r_rejected))

    At a tie, where a run begins, each side has half the slope.

    Args:
        beta: as in dpo.
    """
    return Pairwise(beta=beta, margin=Weaker())
