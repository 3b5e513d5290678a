"""The pair floor: two likelihoods become a margin, the margin a loss. No token is seen here.

    z = beta * (margin(chosen(a_w), rejected(a_l)) - inner) - offset
    loss = reduce(weight * loss(z))

Shapes: P pairs, S = 2P sides.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from truing.core.knobs import Positive
from truing.core.needs import Needs
from truing.core.sides import Sides
from truing.core.view import View
from truing.errors import KnobError
from truing.objectives.diagnostics import of_pairs
from truing.objectives.emphasis import Emphasis, Even
from truing.objectives.likelihoods import Likelihood, LogRatio
from truing.objectives.links import Link, Same
from truing.objectives.losses import Logistic, MarginLoss
from truing.objectives.margins import Difference, Margin
from truing.objectives.objective import PAIRS, Objective, Terms
from truing.objectives.offsets import Offset, Zero
from truing.objectives.part import part
from truing.objectives.reduce import Mean, Reduce
from truing.objectives.sidelosses import SideLoss


@part
class Pairwise(Objective):
    """A loss on pairs, chosen part by part.

    Args:
        beta: multiplies the margin, 1/nats.
        likelihood: of a side, from its tokens.
        chosen: link of the chosen side.
        rejected: link of the rejected side.
        margin: how the two become one number.
        inner: taken off the margin inside beta.
        offset: taken off outside beta.
        loss: of the margin z, or of both sides apart (which knows no margin, offset or inner).
        weight: of each pair.
        reduce: of the pairs to a scalar.

    Raises:
        KnobError: a loss of both sides beside a margin, offset or inner offset.
    """

    beta: Positive
    likelihood: Likelihood = LogRatio()
    chosen: Link = Same()
    rejected: Link = Same()
    margin: Margin = Difference()
    inner: Offset = Zero()
    offset: Offset = Zero()
    loss: MarginLoss | SideLoss = Logistic()
    weight: Emphasis = Even()
    reduce: Reduce = Mean()

    def __post_init__(self) -> None:
        super().__post_init__()
        idle = {"margin": Difference(), "inner": Zero(), "offset": Zero()}
        for knob, value in idle.items():
            if isinstance(self.loss, SideLoss) and getattr(self, knob) != value:
                raise KnobError(
                    f"has no effect: {self.loss!r} looks at both sides apart, not at a margin",
                    where=f"Pairwise({knob}=)",
                    fix="leave it out, or choose a loss of the margin such as Logistic()",
                )

    def own_needs(self) -> Needs:
        """Pairs."""
        return PAIRS

    def terms(self, view: View) -> Terms:
        """Loss, per-pair losses and rewards of the pairs."""
        sides = view.sides
        likelihood = self.likelihood(sides)
        state = self.next_state(likelihood.detach(), sides)
        if state != view.state:
            sides = replace(view, state=state).sides
        z, losses = self._losses(likelihood, sides)
        gap_of = sides.halves(likelihood.detach())
        weights = self.weight(z, gap_of[0] - gap_of[1], sides)
        loss = self.reduce(losses, weights, sides)
        rewards = self.beta * likelihood.detach()
        both = torch.stack(sides.halves(rewards), dim=1)
        return Terms(loss, (losses * weights).detach(), of_pairs(rewards, sides), state, both)

    def rewards(self, view: View) -> Float[Tensor, "P 2"]:
        """Beta times the likelihood of both sides of each pair, detached."""
        sides = view.sides
        return torch.stack(sides.halves(self.beta * self.likelihood(sides).detach()), dim=1)

    def _losses(
        self, likelihood: Float[Tensor, "S"], sides: Sides
    ) -> tuple[Float[Tensor, "P"], Float[Tensor, "P"]]:
        """What the loss sees as the margin, and the losses."""
        of_chosen, of_rejected = sides.halves(likelihood)
        chosen, rejected = self.chosen(of_chosen), self.rejected(of_rejected)
        if isinstance(self.loss, SideLoss):
            chosen, rejected = self.beta * chosen, self.beta * rejected
            return chosen - rejected, self.loss(chosen, rejected, sides)
        margin = self.margin(chosen, rejected, sides) - self.inner(sides)
        z = self.beta * margin - self.offset(sides)
        return z, self.loss(z)
