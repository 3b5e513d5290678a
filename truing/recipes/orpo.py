"""ORPO: fine-tuning and preference in one stage, no reference."""

from typing import Literal

from truing.objectives import NLL, LogOdds, Objective, Pairwise, PolicyLogp, TokenMean
from truing.recipes._recipe import NonNegative, recipe


@recipe(source="arXiv:2403.07691; code trl 1.16 (experimental orpo)")
def orpo(
    lam: NonNegative = 0.1,
    nll: Literal["with_prompt", "token_mean", "sequence_mean"] = "with_prompt",
) -> Objective:
    r"""Likelihood of the chosen response, and its odds above the rejected one's.

        loss = NLL(chosen) - lam * log sigmoid(o_chosen - o_rejected)
        o(y) = Lbar - log(1 - exp(Lbar))

    Lbar (nats): mean log-prob over response tokens.

    Args:
        lam: weight of the odds; TRL calls it beta.
        nll: "with_prompt": over all tokens of prompt and chosen response (authors, TRL);
            "token_mean": over chosen response tokens; "sequence_mean": over responses, of token
            means (LLaMA-Factory).
    """
    likelihood = PolicyLogp(pool=TokenMean())
    odds = Pairwise(beta=1.0, likelihood=likelihood, chosen=LogOdds(), rejected=LogOdds())
    if nll == "with_prompt":
        return NLL(with_prompt=True) + lam * odds
    return NLL(reduction=nll) + lam * odds
