"""EXO: reverse KL between the policy's and the preferences' distribution over responses."""

from truing.objectives import ListReverseKL, Listwise, Objective, Pairwise, ReverseKL
from truing.recipes._recipe import OpenFraction, Positive, no_effect, recipe

_EPSILON = 1e-3


@recipe(source="arXiv:2402.00856; code haozheji/exact-optimization, trl 1.16 (exo_pair)")
def exo(
    beta: Positive = 0.1,
    beta_reward: Positive | None = None,
    epsilon: OpenFraction = _EPSILON,
    normalized: bool = True,
) -> Objective:
    r"""Put the policy's probability where the preferences are, not everywhere they are.

        loss = sum_i q_i * (log q_i - log p_i),  q = softmax(beta * r_i)
        preference form (pairs): p = [1 - epsilon, epsilon]
        reward form (K responses): p = softmax(s_i / beta_reward), mean over prompts

    r (nats): log-ratio to the reference, summed over response tokens. The gradient flows through q.
    The authors' training script first softens both models by a temperature of 0.8, which is no
    part of the formula.

    Args:
        beta: beta_pi of the paper; 0.1 on IMDB, 0.5 on TL;DR and HH.
        beta_reward: beta_r; None: the preference form, which reads no scores.
        epsilon: label smoothing; the released code's is exp(-10).
        normalized: False: log p = [0, log epsilon], as the released code has it.
    """
    if beta_reward is None:
        return Pairwise(beta=beta, loss=ReverseKL(epsilon=epsilon, is_normalized=normalized))
    if epsilon != _EPSILON or not normalized:
        knob = "normalized" if not normalized else "epsilon"
        raise no_effect("exo", knob, "scores are the target", "leave it out, or beta_reward")
    return Listwise(beta=beta, temperature=beta_reward, loss=ListReverseKL())
