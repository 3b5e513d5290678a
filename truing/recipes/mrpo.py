"""MRPO: several references at once."""

from typing import Literal

from truing.errors import KnobError
from truing.objectives import Clip, Combine, Harmonic, LogRatio, Objective, One, Pairwise, Sum
from truing.recipes._recipe import Fraction, Positive, no_effect, recipe

Weights = Fraction | tuple[Fraction, ...] | Literal["adaptive"]


@recipe(
    source="arXiv:2405.16388; code thaihungle/MRPO",
    when={"form": {"alpha": 0.3}, "eta": {"alpha": 0.3}, "crossed": {"alpha": 0.3}},
)
def mrpo(
    beta: Positive = 0.1,
    alpha: Weights = "adaptive",
    eta: Positive = 0.1,
    clip: Literal["adaptive", "fixed", "none"] = "adaptive",
    form: Literal["harmonic", "separate"] = "harmonic",
    crossed: bool = False,
) -> Objective:
    r"""DPO against a virtual reference that several references make together.

        log ref~(y) = -logsumexp_k(log alpha_k - log ref_k(y))
        loss = -log sigmoid(beta * (L_chosen - L_rejected - log ref~(chosen) + log ref~(rejected)))

    Log-probs are sums over response tokens, nats. The first reference is the base, the others are
    extra and clipped around it. If all agree, this is DPO.

    Args:
        beta: as in dpo.
        alpha: weight of the extra reference, or a list of them, the base has the rest; "adaptive":
            by pair, each reference's gap |L_chosen - L_rejected| over the sum of gaps (unclipped).
        eta: how far an extra reference may lie from the base, relatively.
        clip: "adaptive": eta shared out to both sides by their size; "fixed": eta; "none".
        form: "separate": a weighted sum of one DPO a reference (Multi-DPO) instead.
        crossed: base and extra weights exchanged, which is what the released code computes.
    """
    around = None if clip == "none" else Clip(eta=eta, is_adaptive=clip == "adaptive")
    if around is None and eta != 0.1:
        raise no_effect("mrpo", "eta", "nothing is clipped", "leave it out, or clip")
    extra = alpha if isinstance(alpha, tuple | str) else (float(alpha),)
    if form == "harmonic":
        return _against(beta, Harmonic(weights=extra, clip=around, is_crossed=crossed))
    if isinstance(extra, str) or crossed:
        knob = "alpha" if isinstance(extra, str) else "crossed"
        fix = 'for instance mrpo(alpha=0.5, form="separate"), without crossed'
        raise KnobError("separate losses take numbers", where=f"mrpo({knob}=)", fix=fix)
    terms = [a * _against(beta, One(index=k, clip=around)) for k, a in enumerate(extra, start=1)]
    return Sum((*terms, (1 - sum(extra)) * _against(beta, One())))


def _against(beta: float, combine: Combine) -> Pairwise:
    return Pairwise(beta=beta, likelihood=LogRatio(combine=combine))
