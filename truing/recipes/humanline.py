"""Humanline: token log-ratios held within what people perceive."""

from dataclasses import replace

from truing.errors import KnobError
from truing.objectives import ClampedRatio, LogRatio, Objective, Pairwise
from truing.recipes._recipe import Real, recipe
from truing.recipes.dpo import dpo


@recipe(source="code ContextualAI/HALOs (humanline)", example={"objective": dpo(beta=0.1)})
def humanline(objective: Objective, low: Real = -1.0, high: Real = 1.5) -> Objective:
    r"""A contrastive objective whose token log-ratios are clamped before they are summed.

        r(y) = sum_t rho_t   becomes   sum_t clamp(rho_t, low, high)

    A clamped token has no gradient.

    Args:
        objective: a pairwise objective of whole log-ratios, such as dpo() or hinge().
        low: log of epsilon_P, nats.
        high: log of epsilon_R, nats.
    """
    ratio = objective.likelihood if isinstance(objective, Pairwise) else None
    if not isinstance(ratio, LogRatio) or ratio != LogRatio(pool=ratio.pool):
        raise KnobError(
            f"{objective!r} is not one loss on log-ratios of whole responses",
            where="humanline(objective=)",
            fix="clamp its pairwise term alone: humanline(dpo()) + 0.2*sft()",
        )
    clamped = ClampedRatio(pool=ratio.pool, low=low, high=high)
    return replace(objective, likelihood=clamped)  # pyright: ignore[reportCallIssue]
