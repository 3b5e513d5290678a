"""chi2-PO: pessimism through chi-squared regularisation."""

from typing import Literal

from truing.objectives import Chi2, Clipped, Logistic, Objective, Pairwise, Within
from truing.recipes._recipe import Positive, no_effect, recipe


@recipe(
    source="arXiv:2407.13399 (Algorithm 1); code warlockee/oxRL (a third party's, without clip)",
    when={"r_max": {"beta": 1.0}, "clip": {"beta": 1.0, "r_max": 0.1}},
)
def chi2po(
    beta: Positive = 0.05,
    r_max: Positive | None = None,
    clip: Literal["difference", "each_side"] = "difference",
    gamma: Positive = 1.0,
) -> Objective:
    r"""DPO whose reward also grows with the ratio itself, so that few epochs do not overfit.

        phi(r) = gamma * exp(clip(r, -88, 20)) + r
        loss = -log sigmoid(clip(beta * phi(r_chosen) - beta * phi(r_rejected), -2 r_max, 2 r_max))

    r (nats): log-ratio to the reference, summed over response tokens. Near the reference this is
    DPO with (1 + gamma) * beta. Outside the clip there is no gradient.

    Args:
        beta: as in dpo; 0.005 to 0.05 in the paper's table.
        r_max: bound of the rewards; None: no clip. The authors' value was not checked.
        clip: of the difference (Algorithm 1), or of beta * phi of each side to +-r_max.
        gamma: weight of the chi-squared part; 1 in the paper, the general form is its appendix's.
    """
    if r_max is None:
        if clip != "difference":
            raise no_effect("chi2po", "clip", "nothing is clipped", "give r_max as well")
        return Pairwise(beta=beta, chosen=Chi2(gamma=gamma), rejected=Chi2(gamma=gamma))
    if clip == "difference":
        loss = Clipped(loss=Logistic(), limit=2 * r_max)
        return Pairwise(beta=beta, chosen=Chi2(gamma=gamma), rejected=Chi2(gamma=gamma), loss=loss)
    side = Within(link=Chi2(gamma=gamma), limit=r_max / beta)
    return Pairwise(beta=beta, chosen=side, rejected=side)
