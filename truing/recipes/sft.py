"""Plain negative log-likelihood, mostly beside a preference loss: dpo() + 0.2*sft()."""

from typing import Literal

from truing.objectives import NLL, Objective
from truing.recipes._recipe import recipe


@recipe(source="code trl 1.16 (sft); LuJunru/SamPO (mix); arXiv:2405.16436 (sum)")
def sft(
    reduction: Literal["token_mean", "sequence_mean", "sum"] = "token_mean",
    source: str | None = None,
) -> Objective:
    r"""Raise the likelihood of the chosen responses, or of an auxiliary source's.

        loss = -mean of log pi(y|x)

    Args:
        reduction: "token_mean": over all chosen tokens of the step (TRL); "sequence_mean": over
            responses, of each one's token mean (SamPO's mix); "sum": over responses, of sums.
        source: an auxiliary source's name; None: the chosen (or desirable) responses of the rows.
    """
    return NLL(reduction=reduction, source=source)
