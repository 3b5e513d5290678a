"""Three parametrisations of the reward, from the study of reference policies."""

from truing.objectives import Objective, Pairwise, PolicyLogp, UnconditionalRatio
from truing.recipes._recipe import Positive, recipe


@recipe(source="arXiv:2407.13709; code yale-nlp/refdpo")
def posterior(beta: Positive = 100.0) -> Objective:
    r"""DPO without a reference: the reward is the policy's log-prob itself.

        loss = -log sigmoid(beta * (log pi(y_chosen|x) - log pi(y_rejected|x)))

    Args:
        beta: 1/nats; the authors find 100 best.
    """
    return Pairwise(beta=beta, likelihood=PolicyLogp())


@recipe(source="arXiv:2407.13709; code yale-nlp/refdpo")
def likelihood_ratio(beta: Positive = 0.01) -> Objective:
    r"""DPO whose reference does not see the prompt: how much the prompt explains the response.

        r(y) = log pi(y|x) - log p_ref(y);   loss = -log sigmoid(beta * (r_chosen - r_rejected))

    Args:
        beta: 1/nats; the authors find 0.01 best.
    """
    return Pairwise(beta=beta, likelihood=UnconditionalRatio())
