"""The engine's log-probs and the references' joined to what an objective sees."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from truing.core import BatchContext, State, View
from truing.engine import TokenLogps, TokenRow


class PreferenceRow(TokenRow, Protocol):
    """A row of token ids with everything the data says of its responses."""

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Chosen and rejected response of each pair."""
        ...

    @property
    def scores(self) -> tuple[float, ...] | None:
        """One number a response."""
        ...

    @property
    def labels(self) -> tuple[bool, ...] | None:
        """Desirable or not, one a response."""
        ...

    @property
    def win_probability(self) -> tuple[float, ...] | None:
        """One probability a response."""
        ...

    @property
    def learned(self) -> tuple[np.ndarray, ...] | None:
        """One mask a response, true on the tokens that carry loss; None: all do."""
        ...

    @property
    def row_id(self) -> int:
        """64-bit hash of the row's content and occurrence."""
        ...


@dataclass(frozen=True)
class Rows:
    """Rows, and what the references say of them.

    Args:
        examples: as token ids.
        references: for each reference, one array of token log-probs a row (see `fill`); None for
            one that moves and is computed at each step.
        unconditional: one array of sums a row, (K,) nats; None where nobody reads it.
        has_partner: the last response of each row is another prompt's.
        reference_sums: for each reference, one array of sums a row, (K,) nats, where some
            reference has another tokenizer; `references` is then empty.
    """

    examples: Sequence[PreferenceRow]
    references: Sequence[Sequence[np.ndarray] | None] = ()
    unconditional: Sequence[np.ndarray] | None = None
    has_partner: bool = False
    reference_sums: Sequence[Sequence[np.ndarray]] = ()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.examples)

    def at(self, indices: Sequence[int]) -> "Rows":
        """Some of the rows, in this order."""

        def some(values: Sequence[np.ndarray] | None) -> list[np.ndarray] | None:
            return None if values is None else [values[i] for i in indices]

        return Rows(
            [self.examples[i] for i in indices],
            [some(reference) for reference in self.references],
            some(self.unconditional),
            self.has_partner,
            [[sums[i] for i in indices] for sums in self.reference_sums],
        )

    @property
    def has_reference(self) -> bool:
        """Whether some reference was read."""
        return bool(self.references or self.reference_sums)

    @property
    def tokens(self) -> int:
        """Prompt and response tokens, each counted once."""
        return sum(len(row.prompt) + sum(map(len, row.responses)) for row in self.examples)


def join(
    policy: TokenLogps,
    rows: Rows,
    *,
    context: BatchContext | None,
    state: State,
    moving: Tensor | None = None,
) -> View:
    """A view of these rows; tokens that carry no loss are left out of it.

    The engine and the references know every token of a response; those of other speakers inside
    it (a user's or a tool's turn) are context, and no part of the objective sees them.

    Args:
        policy: the engine's log-probs of exactly these rows.
        rows: in the same order.
        context: the optimizer step around them; None: they are a step of their own.
        state: running scalars before this step.
        moving: token log-probs, (M,), of the reference that moves, where there is one.
    """
    like, examples = policy.logps, rows.examples
    stacked = _references(rows, like, moving)
    kept = _learned(examples)
    if kept is not None:
        policy = _only(policy, kept.to(like.device))
        stacked = [reference[kept.to(like.device)] for reference in stacked]
    alone = None if rows.unconditional is None else np.concatenate(rows.unconditional)
    return View(
        policy=policy.logps,
        response=policy.response,
        group=policy.group,
        pairs=_pairs(examples).to(like.device),
        references=torch.stack(stacked) if stacked else None,
        reference_sums=_sums(rows, like),
        unconditional=None if alone is None else torch.from_numpy(alone).to(like),
        scores=_numbers([row.scores for row in examples], like),
        labels=_labels(examples, like.device),
        win_probability=_numbers([row.win_probability for row in examples], like),
        mismatched=_last_of_each(policy.group) if rows.has_partner else None,
        prompt=policy.prompt,
        prompt_group=policy.prompt_group,
        statistics=policy.statistics,
        row_ids=torch.tensor([row.row_id for row in examples], device=like.device),
        state=state,
        context=context,
    )


def _references(rows: Rows, like: Tensor, moving: Tensor | None) -> list[Tensor]:
    """Token log-probs of each reference, (M,) each; of the one that moves, only where it is given.

    A view without it serves to count.
    """
    if moving is None and any(reference is None for reference in rows.references):
        return []
    found = []
    for reference in rows.references:
        if reference is None:
            assert moving is not None, "the reference that moves was not computed"
            found.append(moving.detach().to(like))
        else:
            found.append(torch.from_numpy(np.concatenate(reference)).to(like))
    return found


def _sums(rows: Rows, like: Tensor) -> Tensor | None:
    if not rows.reference_sums:
        return None
    stacked = [torch.from_numpy(np.concatenate(sums)) for sums in rows.reference_sums]
    return torch.stack(stacked).to(like)


def _learned(rows: Sequence[PreferenceRow]) -> Tensor | None:
    """True on the response tokens that carry loss, (M,); None where all do."""
    if all(row.learned is None for row in rows):
        return None
    masks = [
        mask
        for row in rows
        for mask in row.learned or [np.ones(len(r), dtype=np.bool_) for r in row.responses]
    ]
    return torch.from_numpy(np.concatenate(masks))


def _only(policy: TokenLogps, kept: Tensor) -> TokenLogps:
    return replace(
        policy,
        logps=policy.logps[kept],
        response=policy.response[kept],
        statistics=MappingProxyType({n: v[kept] for n, v in policy.statistics.items()}),
    )


def _pairs(rows: Sequence[PreferenceRow]) -> Tensor:
    first, pairs = 0, []
    for row in rows:
        pairs += [(first + chosen, first + rejected) for chosen, rejected in row.pairs]
        first += len(row.responses)
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)


def _numbers(values: list[tuple[float, ...] | None], like: Tensor) -> Tensor | None:
    """One number a response, or None where some row has none."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return torch.tensor([number for value in known for number in value]).to(like)


def _labels(rows: Sequence[PreferenceRow], device: torch.device) -> Tensor | None:
    known = [row.labels for row in rows if row.labels is not None]
    if len(known) < len(rows):
        return None
    return torch.tensor([label for labels in known for label in labels], device=device)


def _last_of_each(group: Tensor) -> Tensor:
    """True where the next response belongs to another row."""
    return torch.cat([group[1:] != group[:-1], torch.ones_like(group[:1], dtype=torch.bool)])
