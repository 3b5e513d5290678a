"""Terms that stand beside a preference loss: negative log-likelihoods of what should be learned.

Shapes: M tokens, N responses.
"""

from typing import Literal

from jaxtyping import Bool
from torch import Tensor

from truing.core import segments
from truing.core.needs import Needs
from truing.core.view import Counts, View
from truing.objectives.objective import Objective, Terms
from truing.objectives.part import part

Reduction = Literal["token_mean", "sequence_mean", "sum"]


@part
class NLL(Objective):
    """Negative log-likelihood of the chosen (or desirable) responses, or of an extra source's.

    A response that is chosen in several pairs counts once.

    Args:
        reduction: "token_mean": over all these tokens of the step (TRL's sft); "sequence_mean":
            over responses, of each one's token mean; "sum": over responses, of each one's sum.
        source: name of an auxiliary source; None: the rows themselves.
        with_prompt: the prompt's tokens count too (ORPO).
    """

    reduction: Reduction = "token_mean"
    source: str | None = None
    with_prompt: bool = False

    def own_needs(self) -> Needs:
        """The source, and the prompts' log-probs where they count."""
        named = frozenset({self.source} if self.source else ())
        return Needs(prompt=self.with_prompt, auxiliary=named)

    def terms(self, view: View) -> Terms:
        """The mean of -log pi; nats."""
        rows, counts, chosen = self._rows(view)
        sums = segments.sums(rows.policy, rows.response, rows.num_responses)
        lengths = rows.lengths
        if self.with_prompt:
            prompts = segments.sums(rows.need("prompt"), rows.need("prompt_group"), rows.num_groups)
            sums = sums + prompts[rows.group]
            lengths = lengths + rows.prompt_lengths[rows.group]
        likelihoods = sums / lengths.clamp(min=1) if self.reduction == "sequence_mean" else sums
        loss = -likelihoods[chosen].sum() / max(self._size(counts), 1)
        per_pair = view.policy.new_zeros(view.num_pairs)
        return Terms(loss, per_pair, {f"nll/{self.source or 'chosen'}": loss.detach()}, view.state)

    def _rows(self, view: View) -> tuple[View, Counts, Bool[Tensor, "N"]]:
        if self.source is None:
            if view.labels is None and view.counts.pairs == 0:
                view.need("labels")
            return view, view.counts, view.is_desirable
        rows = view.source(self.source)
        return rows, view.counts_of(self.source), ~rows.is_mismatched

    def _size(self, counts: Counts) -> int:
        tokens, prompts, responses = (
            counts.chosen_tokens,
            counts.chosen_prompt_tokens,
            counts.chosen,
        )
        if self.source is not None:
            tokens, prompts, responses = counts.tokens, 0, counts.responses
        if self.reduction != "token_mean":
            return responses
        return tokens + (prompts if self.with_prompt else 0)
