"""The best that can be had: the mean score of the policy that an objective aims at.

DPO with Bradley-Terry labels of temperature 1 aims at start * exp(score / strength), strength
being its knob; so its score and its distance from the start follow from the start's responses
alone. P prompts, K responses each.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from truing.errors import ConfigError


@dataclass(frozen=True)
class Reweighted:
    """Samples of a policy, reweighted by exp(score / strength) prompt by prompt.

    Args:
        score: mean score under the weights.
        kl: mean KL from the reweighted policy to the one that was sampled, nats a response.
        start: mean score without weights.
        effective: mean number of samples that the weights leave a prompt; where it is near 1 the
            samples are too few, and score and kl too small.
    """

    score: float
    kl: float
    start: float
    effective: float


def reweighted(scores: Float[np.ndarray, "P K"], strength: float) -> Reweighted:
    """Estimate the aimed-at policy's score and KL; with few samples a prompt both are too small.

    Raises:
        ConfigError: the strength is not above 0.
    """
    if strength <= 0:
        raise ConfigError(
            f"strength must be above 0, got {strength}",
            where="reweighted",
            fix="give the knob of the objective",
        )
    logs = scores / strength
    logs = logs - logsumexp(logs, axis=1, keepdims=True)
    weights = np.exp(logs)
    return Reweighted(
        score=float((weights * scores).sum(axis=1).mean()),
        kl=float((weights * (logs + np.log(scores.shape[1]))).sum(axis=1).mean()),
        start=float(scores.mean()),
        effective=float((1 / (weights**2).sum(axis=1)).mean()),
    )
