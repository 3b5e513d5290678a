"""How far the policy stands from each reference, measured on the response tokens of a step.

M response tokens, R references; d is log pi - log ref of a token, nats.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from truing.core import View
from truing.core.segments import sums

# Mean absolute token log-ratio (nats) beyond which a reference says little of the policy; where
# only sums are known, the same of whole responses for each token, in which signs cancel.
FAR, FAR_IN_SUMS = 1.0, 0.5


def distances(view: View) -> Mapping[str, float]:
    """By metric name, this view's share of the means over the whole step's response tokens.

    `log_ratio`: mean of d. `distance`: mean of |d|; where only sums are known, |sum of d| of each
    response. `kl`: the divergence of "this token or another one" at each position,
    p log(p / r) + (1 - p) log((1 - p) / (1 - r)): at most the KL of the whole distributions, so a
    lower bound of KL(policy || reference) where the data's responses go.
    """
    if view.references is None and view.reference_sums is None:
        return {}
    policy = view.policy.detach()
    own = ~view.is_mismatched[view.response]
    count = max(view.counts.tokens, 1)
    found: dict[str, float] = {}
    if view.references is not None:
        for number, reference in enumerate(view.references):
            name = _name(number, len(view.references))
            one, two = policy[own], reference[own]
            found[f"{name}/log_ratio"] = float((one - two).sum()) / count
            found[f"{name}/distance"] = float((one - two).abs().sum()) / count
            found[f"{name}/kl"] = float(_binary_kl(one.double(), two.double()).sum()) / count
        return found
    assert view.reference_sums is not None
    totals = sums(policy, view.response, view.num_responses)
    for number, reference in enumerate(view.reference_sums):
        name = _name(number, len(view.reference_sums))
        gaps = (totals - reference)[~view.is_mismatched]
        found[f"{name}/log_ratio"] = float(gaps.sum()) / count
        found[f"{name}/distance"] = float(gaps.abs().sum()) / count
    return found


def _name(number: int, count: int) -> str:
    return "reference" if count == 1 else f"reference_{number + 1}"


def _binary_kl(log_p: Tensor, log_r: Tensor) -> Tensor:
    """KL of two coins with these log-probabilities of heads, (M,) nats."""
    log_p, log_r = log_p.clamp(max=-1e-12), log_r.clamp(max=-1e-12)
    others = torch.log(-torch.expm1(log_p)) - torch.log(-torch.expm1(log_r))
    return (log_p.exp() * (log_p - log_r) - torch.expm1(log_p) * others).clamp(min=0.0)


@dataclass(frozen=True)
class FarReference:
    """A reference that is far from the policy before the first step."""

    reference: str
    what: str
    fix: str


def far_references(
    metrics: Mapping[str, float], references: Mapping[int, str], count: int
) -> list[FarReference]:
    """Those of the named references that are far from the policy at the first step.

    Args:
        metrics: of the first step, from `distances`.
        references: by number, how each is written; those left out are not judged.
        count: of all references.
    """
    found = []
    for number, text in references.items():
        name = _name(number, count)
        distance = metrics.get(f"{name}/distance")
        limit = FAR if f"{name}/kl" in metrics else FAR_IN_SUMS
        if distance is None or distance <= limit:
            continue
        found.append(
            FarReference(
                text,
                f"the reference {text} is far from the policy: before the first step they differ "
                f"by {distance:.2f} nats a response token on average (mean log-ratio "
                f"{metrics[f'{name}/log_ratio']:+.2f}). The loss then starts on margins that say "
                "how the two models differ, not what the pairs prefer, and a stronger reference "
                "helps only where it is like the policy (2407.13709)",
                "use a reference closer to the policy (its own start, the same family, the same "
                "template), or a smaller strength of the KL",
            )
        )
    return found
