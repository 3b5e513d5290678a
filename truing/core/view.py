"""What an objective sees of an optimizer step: token log-probs, and who stands against whom.

Shapes: M tokens, N responses, G prompts (groups), P pairs, R references, L prompt tokens.
All log-probs are in nats, all index tensors int64. A response's tokens are contiguous and in
order, its end token counted; responses are in order, those of one group adjacent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from truing.core.state import State


def _nothing() -> Mapping[str, Tensor]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Counts:
    """How much there is of everything a mean is taken over, in one view or in a whole step.

    `chosen` counts distinct responses that stand as chosen in at least one pair, or are labelled
    true; `responses` leaves mismatched responses out. Counts of micro-batches and ranks add up.
    """

    groups: int = 0
    responses: int = 0
    pairs: int = 0
    chosen: int = 0
    chosen_tokens: int = 0
    chosen_prompt_tokens: int = 0
    tokens: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """Counts of two disjoint views taken together."""
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Counts)))


@dataclass(frozen=True)
class BatchContext:
    """What lies around a view: the whole optimizer step, the epoch, the seed.

    Args:
        counts: of the whole optimizer step, over all micro-batches and ranks, main rows.
        auxiliary_counts: the same for each named auxiliary source.
        seed: of the run; randomness is a function of (seed, epoch, row id, pair, side, token).
        epoch: counted from 0; -1 in evaluation.
    """

    counts: Counts
    auxiliary_counts: Mapping[str, Counts] = field(default_factory=lambda: MappingProxyType({}))
    seed: int = 0
    epoch: int = 0


@dataclass(frozen=True)
class View:
    """Token log-probs of policy and references, and who stands against whom.

    Fields that no part of the objective needs are None (or empty), and reading one is a
    `NeedsError` that names it. `context=None`: the view is its own optimizer step.
    """

    policy: Float[Tensor, "M"]
    """Token log-probs of the policy, with gradient."""
    response: Int[Tensor, "M"]
    """Which response each token belongs to, ascending."""
    group: Int[Tensor, "N"]
    """Which prompt each response answers, ascending."""
    pairs: Int[Tensor, "P 2"]
    """Chosen and rejected response of each pair; (0, 2) where there are none."""
    references: Float[Tensor, "R M"] | None = None
    """Token log-probs of each reference; never a gradient."""
    reference_sums: Float[Tensor, "R N"] | None = None
    """Sums per response, where only sums are known (another tokenizer)."""
    unconditional: Float[Tensor, "N"] | None = None
    """log p_ref(y) without the prompt, summed over tokens."""
    scores: Float[Tensor, "N"] | None = None
    """A judge's number for each response."""
    labels: Bool[Tensor, "N"] | None = None
    """Desirable or not; pointwise parts read it. False for mismatched responses."""
    win_probability: Float[Tensor, "N"] | None = None
    """P(this response wins) as the data says it, in [0, 1]."""
    mismatched: Bool[Tensor, "N"] | None = None
    """True for another prompt's answer, given along for KTO's z0, and nothing else."""
    prompt: Float[Tensor, "L"] | None = None
    """Token log-probs of the prompts (their first token left out), with gradient."""
    prompt_group: Int[Tensor, "L"] | None = None
    """Which prompt each of these tokens belongs to."""
    statistics: Mapping[str, Float[Tensor, "M"]] = field(default_factory=_nothing)
    """Per-token statistics over the vocabulary, by name, as declared in the needs."""
    heads: Mapping[str, Float[Tensor, "N"]] = field(default_factory=_nothing)
    """Outputs of named scalar heads at the prompt's last token, per response."""
    auxiliary: "Mapping[str, View]" = field(default_factory=lambda: MappingProxyType({}))
    """Views of the named auxiliary sources drawn in the same step; they have no pairs."""
    row_ids: Int[Tensor, "G"] | None = None
    """64-bit content hash of each row (with its occurrence number mixed in)."""
    positions: Bool[Tensor, "S K"] | None = None
    """Token subsets that are given instead of drawn: see `objectives.weights`."""
    selection: Bool[Tensor, "P"] | None = None
    """Pairs that are given as selected instead of drawn (beta-DPO)."""
    state: State = field(default_factory=State)
    """Running scalars (EMA) as they stood before this step."""
    context: BatchContext | None = None
    """The optimizer step around this view."""

    @property
    def num_responses(self) -> int:
        """N, mismatched responses included."""
        return self.group.shape[0]

    @property
    def num_pairs(self) -> int:
        """P."""
        return self.pairs.shape[0]

    @property
    def lengths(self) -> Int[Tensor, "N"]:
        """Tokens of each response, its end token included."""
        return torch.bincount(self.response, minlength=self.num_responses)
