"""HPO: a preference loss beside advantage-weighted likelihood of an auxiliary reward."""

from typing import Annotated

from truing.core.knobs import Interval
from truing.objectives import (
    Expectile,
    Objective,
    PolicyLogp,
    TokenMean,
    TokenSum,
    WeightedLikelihood,
)
from truing.recipes._recipe import NonNegative, Positive, recipe
from truing.recipes.dpo import dpo

Tau = Annotated[float, Interval(0.5, 1.0, is_low_open=True, is_high_open=True)]


@recipe(
    source="arXiv:2405.17956 (structure; its constants were not checked)",
    example={"preference": dpo(beta=0.1), "gamma": 0.1, "temperature": 1.0, "tau": 0.7},
)
def hpo(
    preference: Objective,
    gamma: NonNegative,
    temperature: Positive,
    tau: Tau,
    cap: Positive | None = None,
    average: bool = False,
    detach_trunk: bool = True,
) -> Objective:
    r"""Learn preferences, and what a second reward rates above its expectation.

        loss = preference - gamma * mean[exp(A / temperature) * L] + mean[|tau - 1(u < 0)| u^2]
        u = score - V(x), A = u without gradient; means over all responses, of both sides

    L (nats): log-prob summed over response tokens. V: the head "value" at the prompt's end. The
    paper's preference loss is kto(); dpo() and ipo() are named too. Its values for gamma,
    temperature, tau and cap are not known here.

    Args:
        preference: the preference loss.
        gamma: weight of the weighted likelihood; 0 leaves the preference loss and V.
        temperature: divides the advantage.
        tau: expectile of the scores that V learns.
        cap: largest weight exp(A / temperature); None: none.
        average: L is the mean over response tokens.
        detach_trunk: V's gradient does not move the model below the head.
    """
    likelihood = PolicyLogp(pool=TokenMean() if average else TokenSum())
    weighted = WeightedLikelihood(temperature=temperature, cap=cap, likelihood=likelihood)
    return preference + gamma * weighted + Expectile(tau=tau, is_trunk_detached=detach_trunk)
