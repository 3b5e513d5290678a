"""SamPO: both sides of a pair are summed over equally many tokens."""

from dataclasses import replace
from typing import Literal

from truing.errors import KnobError
from truing.objectives import Largest, LogRatio, Objective, PairMean, Pairwise, Subset, Whole
from truing.recipes._recipe import Positive, no_effect, recipe
from truing.recipes.dpo import dpo


@recipe(
    source="arXiv:2406.10957; code LuJunru/SamPO",
    when={"keep_end": {"tokens": "random"}, "shared_positions": {"tokens": "random"}},
)
def sampo(
    beta: Positive = 0.1,
    tokens: Literal["random", "largest", "average"] = "random",
    shared_positions: bool = True,
    keep_end: bool = False,
) -> Objective:
    r"""DPO without its preference for length: as many tokens of the longer side as of the shorter.

        m = min(|y_chosen|, |y_rejected|);  S: m token positions of each response
        loss = -log sigmoid(beta * (sum_{t in S_chosen} rho_t - sum_{t in S_rejected} rho_t))

    rho_t (nats): log-ratio of one token to the reference. Sums, not means; drawn without
    replacement, anew in each epoch; of equal lengths this is DPO. The end token can be dropped.

    Args:
        beta: as in dpo.
        tokens: which m tokens. "random" (the paper's Eq. 10); "largest": those of the largest
            signed rho_t, detached (App. G; tie-break and sign are not stated there); "average":
            none is left out, means times the pair's mean length (DPO-SANorm, Sec. 3.3).
        shared_positions: the same positions for policy and reference, as the paper writes;
            False: two independent draws, as the released code does.
        keep_end: the last token of the longer response is always among the drawn ones.
    """
    if tokens != "random" and (not shared_positions or keep_end):
        knob = "keep_end" if keep_end else "shared_positions"
        raise no_effect("sampo", knob, "only random tokens are drawn", 'use tokens="random"')
    likelihoods = {
        "random": _drawn(LogRatio(), shared_positions, keep_end),
        "largest": LogRatio(policy=Largest()),
        "average": LogRatio(pool=PairMean()),
    }
    return Pairwise(beta=beta, likelihood=likelihoods[tokens])


@recipe(
    source="arXiv:2406.10957; code LuJunru/SamPO",
    limits={"sampo": {}},
    example={"objective": dpo(beta=0.1)},
)
def sampled(
    objective: Objective,
    shared_positions: bool = True,
    keep_end: bool = False,
) -> Objective:
    r"""Any contrastive objective, with sums over equally many tokens of both sides, as in SamPO.

        r(y) = sum_t rho_t   becomes   the sum over min(|y_chosen|, |y_rejected|) drawn tokens

    sampled(dpo()) is sampo(). Where the objective divides by the length, it divides by the full
    length, as the released code does: sampled(ipo()).

    Args:
        objective: one pairwise objective of log-ratios, such as minor_dpo() or ipo().
        shared_positions: as in sampo.
        keep_end: as in sampo.
    """
    ratio = objective.likelihood if isinstance(objective, Pairwise) else None
    if not isinstance(ratio, LogRatio) or ratio.policy != Whole():
        raise KnobError(
            f"{objective!r} is not one loss on log-ratios of whole responses",
            where="sampled(objective=)",
            fix="sample its pairwise term alone: sampled(dpo()) + 0.2*sft()",
        )
    return replace(objective, likelihood=_drawn(ratio, shared_positions, keep_end))  # pyright: ignore[reportCallIssue]


def _drawn(ratio: LogRatio, shared: bool, keep_end: bool) -> LogRatio:
    own = None if shared else Subset(keep_end=keep_end, stream="reference")
    return replace(ratio, policy=Subset(keep_end=keep_end), reference=own)
