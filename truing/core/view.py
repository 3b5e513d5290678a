"""What an objective sees of an optimizer step: token log-probs, and who stands against whom.

Shapes: M tokens, N responses, G prompts (groups), P pairs, R references, L prompt tokens.
All log-probs are in nats, all index tensors int64. A response's tokens are contiguous and in
order, its end token counted; responses are in order, those of one group adjacent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from truing.core import tables
from truing.core.sides import Sides
from truing.core.state import State
from truing.errors import NeedsError


def _nothing() -> Mapping[str, Tensor]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Counts:
    """How much there is of everything a mean is taken over, in one view or in a whole step.

    `chosen` counts distinct responses that stand as chosen in at least one pair, or are labelled
    true; `chosen_prompt_tokens` are the tokens of their prompts, once for each of them; `responses`
    and `tokens` leave mismatched responses out. Counts of micro-batches and ranks add up.
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

    @staticmethod
    def of(view: "View") -> "Counts":
        """What one view holds (mismatched responses left out)."""
        lengths, stands, prompts = view.lengths, view.is_desirable, view.prompt_lengths
        main = ~view.is_mismatched
        return Counts(
            groups=view.num_groups,
            responses=int(main.sum()),
            pairs=view.num_pairs,
            chosen=int(stands.sum()),
            chosen_tokens=int(lengths[stands].sum()),
            chosen_prompt_tokens=int(prompts[view.group[stands]].sum()),
            tokens=int(lengths[main].sum()),
        )


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


@dataclass(frozen=True, eq=False)
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
    """Token subsets that are given instead of drawn (SamPO): a side a row, in the order of `sides`,
    a token a column."""
    reference_positions: Bool[Tensor, "S K"] | None = None
    """The same for the reference, where it has a subset of its own."""
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

    @cached_property
    def num_groups(self) -> int:
        """G."""
        if self.row_ids is not None:
            return self.row_ids.shape[0]
        return int(self.group[-1]) + 1 if self.num_responses else 0

    @cached_property
    def lengths(self) -> Int[Tensor, "N"]:
        """Tokens of each response, its end token included."""
        return torch.bincount(self.response, minlength=self.num_responses)

    @cached_property
    def prompt_lengths(self) -> Int[Tensor, "G"]:
        """Tokens of each prompt with a log-prob (all but the first); 0 where they are not given."""
        if self.prompt_group is None:
            return torch.zeros(self.num_groups, dtype=torch.int64, device=self.group.device)
        return torch.bincount(self.prompt_group, minlength=self.num_groups)

    @cached_property
    def is_mismatched(self) -> Bool[Tensor, "N"]:
        """Which responses belong to another prompt; none where nothing is said."""
        nobody = torch.zeros_like(self.group, dtype=torch.bool)
        return nobody if self.mismatched is None else self.mismatched

    @cached_property
    def is_desirable(self) -> Bool[Tensor, "N"]:
        """Labelled true or, where there are no labels, chosen in at least one pair."""
        if self.labels is not None:
            return self.labels & ~self.is_mismatched
        chosen = torch.zeros_like(self.group, dtype=torch.bool)
        chosen[self.pairs[:, 0]] = True
        return chosen

    @cached_property
    def counts(self) -> Counts:
        """Of the whole optimizer step; of this view where it has no context."""
        return Counts.of(self) if self.context is None else self.context.counts

    def counts_of(self, source: str) -> Counts:
        """Of a named auxiliary source over the whole optimizer step."""
        if self.context is None:
            return Counts.of(self.source(source))
        return self.context.auxiliary_counts[source]

    def source(self, name: str) -> "View":
        """The view of a named auxiliary source.

        Raises:
            NeedsError: the step brings no such source.
        """
        if self.context is not None and name in self.context.auxiliary_counts:
            return self.auxiliary.get(name, self._without_rows())
        if name not in self.auxiliary:
            raise NeedsError(
                f"needs the auxiliary source {name!r}, which is not there",
                where="objective",
                fix=f"name it in the configuration: auxiliary: {{{name}: FILE}}",
            )
        return self.auxiliary[name]

    def _without_rows(self) -> "View":
        """What a micro-batch has of a source whose rows lie in other micro-batches."""
        return View(self.policy[:0], self.response[:0], self.group[:0], self.pairs[:0])

    def need(self, name: str) -> Tensor:
        """A field that the objective cannot do without.

        Raises:
            NeedsError: it is None; the message names the cure.
        """
        value: Tensor | None = getattr(self, name)
        if value is None:
            what, fix = _MISSING[name]
            raise NeedsError(f"needs {what}, which the view does not have", where=name, fix=fix)
        return value

    def statistic(self, name: str) -> Float[Tensor, "M"]:
        """A per-token statistic over the vocabulary, or a `NeedsError`."""
        return _named(self.statistics, name, "the vocabulary statistic")

    def head(self, name: str) -> Float[Tensor, "N"]:
        """The output of a named head at each response's prompt, or a `NeedsError`."""
        return _named(self.heads, name, "the head")

    @cached_property
    def sides(self) -> Sides:
        """The 2P sides of the pairs: all chosen sides, then all rejected sides."""
        return Sides(self, self.pairs.T.reshape(-1), is_paired=True)

    @cached_property
    def alone(self) -> Sides:
        """Every response that is its own prompt's, standing alone."""
        return Sides(self, torch.nonzero(~self.is_mismatched)[:, 0], is_paired=False)

    def reference_totals(self, sides: Sides) -> Float[Tensor, "R S"]:
        """Sums over the whole of each side for every reference, from tokens or from given sums."""
        if self.references is not None:
            return sides.totals(self.references)
        if self.reference_sums is not None:
            return self.reference_sums[:, sides.response]
        return self.need("references")

    @classmethod
    def from_padded(
        cls,
        policy_chosen: Float[Tensor, "P T"],
        policy_rejected: Float[Tensor, "P T"],
        mask_chosen: Tensor,
        mask_rejected: Tensor,
        *,
        reference_chosen: Tensor | None = None,
        reference_rejected: Tensor | None = None,
        scores: tuple[Tensor, Tensor] | None = None,
        win_probability: tuple[Tensor, Tensor] | None = None,
        unconditional: tuple[Tensor, Tensor] | None = None,
        statistics: Mapping[str, tuple[Tensor, Tensor]] | None = None,
        **others: Any,
    ) -> "View":
        """A view of P pairs from tables padded to T columns; for tests and other trainers.

        Args:
            policy_chosen: token log-probs in nats, with gradient; any value where masked.
            policy_rejected: the same of the rejected responses.
            mask_chosen: (P, T), true or 1 on response tokens, the end token included.
            mask_rejected: the same of the rejected responses.
            reference_chosen: (P, T), or (R, P, T) for several references.
            reference_rejected: the same of the rejected responses.
            scores: (P,) of the chosen and of the rejected responses.
            win_probability: the same.
            unconditional: the same.
            statistics: per-token tables (P, T) of chosen and rejected, by name.
            others: further fields of the view, as they are: row_ids (P,), positions, state ...
        """
        both: dict[str, tuple[Tensor | None, Tensor | None] | None] = {
            "policy": (policy_chosen, policy_rejected),
            "mask": (mask_chosen, mask_rejected),
            "references": (reference_chosen, reference_rejected),
            "scores": scores,
            "win_probability": win_probability,
            "unconditional": unconditional,
        }
        both |= {f"statistics/{name}": sides for name, sides in (statistics or {}).items()}
        given = {name: sides for name, sides in both.items() if sides and sides[0] is not None}
        chosen, rejected = ({n: s[i] for n, s in given.items()} for i in (0, 1))
        return tables.from_pairs(chosen, rejected, others)  # pyright: ignore[reportArgumentType]

    @classmethod
    def from_groups(
        cls,
        policy: Float[Tensor, "N T"],
        mask: Tensor,
        group: Int[Tensor, "N"],
        *,
        references: Tensor | None = None,
        scores: Float[Tensor, "N"] | None = None,
        pairs: Int[Tensor, "P 2"] | None = None,
        **others: Any,
    ) -> "View":
        """A view of N responses in groups (K-wise, unpaired, or one response in several pairs).

        Args:
            policy: token log-probs padded to T columns, with gradient.
            mask: (N, T), true or 1 on response tokens.
            group: the prompt of each response, 0, 0, 1 ... ascending.
            references: (N, T), or (R, N, T) for several references.
            scores: of each response.
            pairs: chosen and rejected response; None: all that the scores order.
            others: further fields of the view, as they are.
        """
        table = {"policy": policy, "mask": mask, "references": references, "scores": scores}
        given = {name: values for name, values in table.items() if values is not None}
        return tables.from_responses(given, group=group, pairs=pairs, others=others)


_MISSING = {
    "references": (
        "per-token log-probs of a reference",
        "give `references`, or `reference_sums` to an objective of whole sums",
    ),
    "unconditional": (
        "log p_ref(y) without the prompt",
        "give `unconditional`, or a configuration with an unconditional(...) reference",
    ),
    "scores": (
        "scores of the responses",
        "use data with score columns (score_chosen, score_rejected), or an objective without them",
    ),
    "win_probability": (
        "a win probability for each response",
        "use data with win probabilities, or sppo(hard=True)",
    ),
    "labels": ("labels of the responses", "use unpaired data with a label column, or pairs"),
    "mismatched": (
        "mismatched responses (another row's answer to each prompt)",
        "give `mismatched`; the trainer draws them by itself",
    ),
    "prompt": ("token log-probs of the prompts", "give `prompt` and `prompt_group`"),
    "row_ids": (
        "row ids, from which its tokens or pairs are drawn",
        "give `row_ids` (one 64-bit number a row), or the drawn `positions` or `selection`",
    ),
}


def _named(values: Mapping[str, Tensor], name: str, kind: str) -> Tensor:
    if name not in values:
        there = ", ".join(values) or "none"
        fix = f"the view must bring it (there are: {there}); the trainer reads it off the needs"
        raise NeedsError(f"needs {kind} {name!r}, which is not there", where=name, fix=fix)
    return values[name]
