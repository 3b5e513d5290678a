"""All K responses to a prompt at once: the policy's shares against the scores' shares.

    q = softmax(beta * likelihood),  p = softmax(score / temperature), both within each prompt

Shapes: N responses in G prompts, P pairs. The loss is the mean over prompts.
"""

from abc import abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from truing.core import segments
from truing.core.knobs import NonNegative, Positive
from truing.core.needs import Needs
from truing.core.view import View
from truing.objectives.diagnostics import of_pairs
from truing.objectives.likelihoods import Likelihood, LogRatio
from truing.objectives.objective import PAIRS, Objective, Terms
from truing.objectives.part import Part, part
from truing.objectives.pointwise import by_pair
from truing.objectives.stable import softplus


@part
class ListLoss(Part):
    """Maps rewards and target log-shares of the responses of each prompt to its loss."""

    @abstractmethod
    def __call__(
        self,
        rewards: Float[Tensor, "N"],
        target: Float[Tensor, "N"],
        group: Int[Tensor, "N"],
        count: int,
    ) -> Float[Tensor, "G"]:
        """(N,) rewards and log-shares, the prompt of each, and G, to (G,)."""


@part
class CrossEntropy(ListLoss):
    """The policy's shares should cover the target's (InfoNCA)."""

    def __call__(
        self,
        rewards: Float[Tensor, "N"],
        target: Float[Tensor, "N"],
        group: Int[Tensor, "N"],
        count: int,
    ) -> Float[Tensor, "G"]:
        """-sum_i p_i log q_i."""
        shares = segments.log_softmax(rewards, group, count)
        return -segments.sums(target.exp() * shares, group, count)


@part
class ListReverseKL(ListLoss):
    """The policy's shares should lie within the target's (EXO); the gradient flows through q."""

    def __call__(
        self,
        rewards: Float[Tensor, "N"],
        target: Float[Tensor, "N"],
        group: Int[Tensor, "N"],
        count: int,
    ) -> Float[Tensor, "G"]:
        """sum_i q_i (log q_i - log p_i)."""
        shares = segments.log_softmax(rewards, group, count)
        return segments.sums(shares.exp() * (shares - target), group, count)


@part
class ListNoiseContrast(ListLoss):
    """Each response is told from noise with its target share, all are held down alike (NCA)."""

    def __call__(
        self,
        rewards: Float[Tensor, "N"],
        target: Float[Tensor, "N"],
        group: Int[Tensor, "N"],
        count: int,
    ) -> Float[Tensor, "G"]:
        """-sum_i p_i log sigmoid(reward_i) - mean_i log sigmoid(-reward_i)."""
        up = segments.sums(target.exp() * softplus(-rewards), group, count)
        return up + segments.means(softplus(rewards), group, count)


@part
class Listwise(Objective):
    """A loss on all responses of a prompt.

    Args:
        beta: multiplies the likelihoods, 1/nats.
        temperature: divides the scores.
        loss: of the two distributions.
        likelihood: of a response, from its tokens; it may not look at a partner.
        first_bonus: added to the score of each prompt's first response.
    """

    beta: Positive
    temperature: Positive
    loss: ListLoss = CrossEntropy()
    likelihood: Likelihood = LogRatio()
    first_bonus: NonNegative = 0.0

    def own_needs(self) -> Needs:
        """Scores of the responses of pairs or K-wise rows."""
        return PAIRS | Needs(scores="any")

    def terms(self, view: View) -> Terms:
        """Loss, each prompt's share of its pairs, and the rewards of the pairs."""
        sides = view.alone
        group = view.group[sides.response]
        rewards = self.beta * self.likelihood(sides)
        target = segments.log_softmax(self._scores(view, rewards), group, view.num_groups)
        losses = self.loss(rewards, target, group, view.num_groups)
        both = by_pair(rewards, view)
        return Terms(
            losses.sum() / max(view.counts.groups, 1),
            _spread_over_pairs(losses.detach(), view),
            of_pairs(both.T.reshape(-1), view.sides),
            view.state,
            both,
        )

    def rewards(self, view: View) -> Float[Tensor, "P 2"]:
        """Beta times the likelihood of both responses of each pair, detached."""
        return by_pair(self.beta * self.likelihood(view.alone), view)

    def _scores(self, view: View, like: Tensor) -> Float[Tensor, "N"]:
        response = view.alone.response
        scores = view.need("scores").detach()[response].to(like.dtype)
        is_first = segments.positions(view.group[response], view.num_groups) == 0
        raised = torch.where(is_first, scores + self.first_bonus, scores)
        return raised / self.temperature


def _spread_over_pairs(losses: Float[Tensor, "G"], view: View) -> Float[Tensor, "P"]:
    """Each prompt's loss in equal parts on its pairs."""
    group = view.group[view.pairs[:, 0]]
    return losses[group] / torch.bincount(group, minlength=view.num_groups)[group]
