"""Learning from how much better than expected a response is (HPO): weights and the expectation.

u = score - V, where V is the output of the head "value" at the prompt. Shapes: S responses.
"""

from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from truing.core.knobs import Interval, Positive
from truing.core.needs import Needs
from truing.core.sides import Sides
from truing.core.view import View
from truing.objectives.likelihoods import Likelihood, PolicyLogp
from truing.objectives.objective import Objective, Terms
from truing.objectives.part import part
from truing.objectives.pointwise import by_pair
from truing.objectives.stable import exp

Expectation = Annotated[float, Interval(0.5, 1.0, is_low_open=True, is_high_open=True)]
_READS = Needs(scores="any", heads=frozenset({"value"}))


@part
class WeightedLikelihood(Objective):
    """Likelihood of every response, weighted by the exponential of its advantage.

    Args:
        temperature: divides the advantage.
        cap: largest weight; None: e^80, which only keeps numbers finite.
        likelihood: of a response.
    """

    temperature: Positive
    cap: Positive | None = None
    likelihood: Likelihood = PolicyLogp()

    def own_needs(self) -> Needs:
        """Scores and the value head, on any rows."""
        return _READS

    def terms(self, view: View) -> Terms:
        """-mean over responses of min(cap, exp(u / temperature)) * likelihood, u detached."""
        sides = view.alone
        weights = exp(_surplus(sides).detach() / self.temperature)
        weights = weights if self.cap is None else weights.clamp(max=self.cap)
        losses = -weights * self.likelihood(sides)
        loss = losses.sum() / max(view.counts.responses, 1)
        metrics = {"advantage_weight": weights.sum() / max(view.counts.responses, 1)}
        return Terms(loss, by_pair(losses, view).mean(dim=1), metrics, view.state)


@part
class Expectile(Objective):
    """The value head learns the tau-expectile of the scores.

    Args:
        tau: above 1/2: scores above the value pull harder than those below.
        is_trunk_detached: the head's gradient does not move the model below it.
    """

    tau: Expectation
    is_trunk_detached: bool = True

    def own_needs(self) -> Needs:
        """Scores and the value head, attached to the model or not."""
        attached: frozenset[str] = frozenset() if self.is_trunk_detached else frozenset({"value"})
        return _READS | Needs(attached_heads=attached)

    def terms(self, view: View) -> Terms:
        """Mean over responses of |tau - 1(u < 0)| u^2."""
        surplus = _surplus(view.alone)
        square = surplus**2
        losses = torch.where(surplus < 0, (1 - self.tau) * square, self.tau * square)
        loss = losses.sum() / max(view.counts.responses, 1)
        return Terms(
            loss, by_pair(losses, view).mean(dim=1), {"value_loss": loss.detach()}, view.state
        )


def _surplus(sides: Sides) -> Float[Tensor, "S"]:
    """Score minus value of each response."""
    values = sides.view.head("value")[sides.response]
    return sides.view.need("scores").detach()[sides.response].to(values.dtype) - values
