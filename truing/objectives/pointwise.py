"""Responses judged one by one: each is desirable or not, no partner is needed.

    loss = mean over responses of weight * phi(+-beta * (likelihood - anchor))

Desirable is what the labels say or, on pairs, what is chosen. Shapes: S responses, P pairs.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from truing.core.knobs import NonNegative, Positive
from truing.core.needs import Needs
from truing.core.view import View
from truing.errors import NeedsError
from truing.objectives.anchors import Anchor, NoAnchor
from truing.objectives.diagnostics import of_responses
from truing.objectives.likelihoods import Likelihood, LogRatio
from truing.objectives.losses import MarginLoss, Saturating
from truing.objectives.objective import Objective, Terms
from truing.objectives.part import part


@part
class Pointwise(Objective):
    """A loss on single responses.

    Args:
        beta: multiplies the likelihood above its anchor, 1/nats.
        likelihood: of a response, from its tokens; it may not look at a partner.
        anchor: what it is measured against.
        loss: phi; a desirable response asks for a large argument, another for a small one.
        desirable_weight: of desirable responses.
        undesirable_weight: of the others.
        is_desirable_only: the others are left out, of the mean too.
    """

    beta: Positive
    likelihood: Likelihood = LogRatio()
    anchor: Anchor = NoAnchor()
    loss: MarginLoss = Saturating()
    desirable_weight: NonNegative = 1.0
    undesirable_weight: NonNegative = 1.0
    is_desirable_only: bool = False

    def own_needs(self) -> Needs:
        """Pairs, or labelled responses."""
        return Needs(responses=frozenset({"pairs", "unpaired"}), labels=True)

    def terms(self, view: View) -> Terms:
        """Loss, rewards of both kinds, and the anchor where there is one."""
        sides = view.alone
        likelihood = self.likelihood(sides)
        state = self.next_state(likelihood.detach(), sides)
        if state != view.state:
            sides = replace(view, state=state).alone
        anchor = self.anchor(self.likelihood, sides)
        is_desirable = _labels(view)[sides.response]
        rewards = self.beta * likelihood
        above = rewards - self.beta * anchor
        signed = torch.where(is_desirable, above, -above)
        losses = self.loss(signed)
        others = 0.0 if self.is_desirable_only else self.undesirable_weight
        losses = torch.where(is_desirable, self.desirable_weight * losses, others * losses)
        size = view.counts.chosen if self.is_desirable_only else view.counts.responses
        metrics = dict(of_responses(rewards, is_desirable, view))
        if self.anchor != NoAnchor():
            metrics["anchor"] = anchor * (sides.count / max(view.counts.responses, 1))
        loss, both = losses.sum() / max(size, 1), by_pair(rewards, view)
        return Terms(loss, by_pair(losses, view).mean(dim=1), metrics, state, both)

    def rewards(self, view: View) -> Float[Tensor, "P 2"]:
        """Beta times the likelihood of both responses of each pair, detached."""
        return by_pair(self.beta * self.likelihood(view.alone), view)


def by_pair(values: Float[Tensor, "S"], view: View) -> Float[Tensor, "P 2"]:
    """Values of responses standing alone, at the two responses of each pair; detached."""
    by_response = values.new_zeros(view.num_responses)
    by_response[view.alone.response] = values.detach()
    return by_response[view.pairs]


def _labels(view: View) -> Tensor:
    if view.labels is None and bool(view.is_desirable[view.pairs[:, 1]].any()):
        raise NeedsError(
            "a response is chosen in one pair and rejected in another, so it has no label",
            where="labels",
            fix="use pair rows or unpaired rows with labels, not K-wise rows",
        )
    if view.labels is None and not view.counts.pairs:
        view.need("labels")
    return view.is_desirable
