"""Other divergences from the reference, and another entropy: f-DPO and H-DPO."""

from typing import Literal

from truing.errors import KnobError
from truing.objectives import (
    AlphaDivergence,
    ForwardKL,
    JensenShannon,
    Link,
    LogRatio,
    Objective,
    Pairwise,
    Same,
)
from truing.recipes._recipe import OpenFraction, Positive, no_effect, recipe

Divergence = Literal["reverse_kl", "forward_kl", "js", "alpha"]


@recipe(
    source="arXiv:2309.16240; code alecwangcq/f-divergence-dpo",
    limits={"dpo": {"divergence": "reverse_kl"}},
    when={"alpha": {"divergence": "alpha", "alpha": 0.3}},
)
def f_dpo(
    beta: Positive = 0.1, divergence: Divergence = "reverse_kl", alpha: OpenFraction | None = None
) -> Objective:
    r"""DPO under another divergence than reverse KL: more diversity, or more reward.

        loss = -log sigmoid(beta * (g(r_chosen) - g(r_rejected)))
        g(r): reverse_kl r;  forward_kl 1 - exp(-r);  js log 2 + log sigmoid(r);
              alpha (1 - exp(-alpha r)) / alpha

    r (nats): log-ratio to the reference, summed over response tokens. At r = 0 the slope of g is 1,
    and 1/2 for js.

    Args:
        beta: as in dpo.
        divergence: which one.
        alpha: of the alpha divergence, in the paper's sense; TRL's coefficient is 1 - alpha.
    """
    if alpha is not None and divergence != "alpha":
        raise no_effect("f_dpo", "alpha", "only the alpha divergence has it", 'divergence="alpha"')
    links: dict[Divergence, Link] = {
        "reverse_kl": Same(),
        "forward_kl": ForwardKL(),
        "js": JensenShannon(),
    }
    if alpha is not None:
        links["alpha"] = AlphaDivergence(alpha=alpha)
    if divergence not in links:
        fix = 'for instance f_dpo(divergence="alpha", alpha=0.5)'
        raise KnobError("must be given", where="f_dpo(alpha=)", fix=fix)
    return Pairwise(beta=beta, chosen=links[divergence], rejected=links[divergence])


@recipe(
    source="arXiv:2411.07595; code warlockee/oxRL (a third party's)",
    limits={"dpo": {"alpha": 1.0}},
    example={"alpha": 0.95},
)
def h_dpo(alpha: Positive, beta: Positive = 0.1) -> Objective:
    r"""DPO that controls the policy's entropy: below 1 it may become sharper than the reference.

        r = alpha * L - Lref;   loss = -log sigmoid(beta * (r_chosen - r_rejected))

    L, Lref (nats): log-prob of policy and reference, summed over response tokens.

    Args:
        alpha: weight of the entropy; 0.8 to 1.2, 1 is DPO.
        beta: as in dpo.
    """
    return Pairwise(beta=beta, likelihood=LogRatio(policy_share=alpha))
