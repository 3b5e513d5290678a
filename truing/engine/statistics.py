"""Numbers over the whole vocabulary at each response token, and their slopes.

C positions, V vocabulary; z are the logits, p the policy's distribution, r the reference's.
A slope is the derivative of the value by the logits, written out so that the fused head needs no
second graph.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

LogProbs = Float[Tensor, "C V"]
Values = Float[Tensor, "C"]


@dataclass(frozen=True)
class Statistic:
    """One number a position.

    Args:
        value: from the policy's log-probs, and the reference's where one is read.
        slope: d value / d logits, (C, V), from the same and the value.
        reads_reference: whether the reference model must run beside the policy.
    """

    value: Callable[[LogProbs, LogProbs | None], Values]
    slope: Callable[[LogProbs, Values, LogProbs | None], LogProbs]
    reads_reference: bool = False


def _log_sum_sq(log_probs: LogProbs, _reference: LogProbs | None) -> Values:
    return torch.logsumexp(2 * log_probs, dim=-1)


def _log_sum_sq_slope(log_probs: LogProbs, value: Values, _reference: LogProbs | None) -> LogProbs:
    return 2 * ((2 * log_probs - value[:, None]).exp() - log_probs.exp())


def _entropy(log_probs: LogProbs, _reference: LogProbs | None) -> Values:
    return -_weighted(log_probs, log_probs)


def _entropy_slope(log_probs: LogProbs, value: Values, _reference: LogProbs | None) -> LogProbs:
    probs = log_probs.exp()
    # p log p is 0 where p is 0, also where log p is -inf.
    return -torch.where(probs > 0, probs * (log_probs + value[:, None]), 0.0)


def _kl(log_probs: LogProbs, reference: LogProbs | None) -> Values:
    assert reference is not None, "KL(r || p) without a reference"
    return _weighted(reference, reference - log_probs)


def _kl_slope(log_probs: LogProbs, _value: Values, reference: LogProbs | None) -> LogProbs:
    assert reference is not None, "KL(r || p) without a reference"
    return log_probs.exp() - reference.exp()


def _weighted(log_weights: LogProbs, values: LogProbs) -> Values:
    weights = log_weights.exp()
    return torch.where(weights > 0, weights * values, 0.0).sum(-1)


# log sum_v p(v)^2; entropy in nats; KL(r || p) in nats.
STATISTICS: Mapping[str, Statistic] = MappingProxyType(
    {
        "log_sum_sq": Statistic(_log_sum_sq, _log_sum_sq_slope),
        "entropy": Statistic(_entropy, _entropy_slope),
        "kl_pos": Statistic(_kl, _kl_slope, reads_reference=True),
    }
)
