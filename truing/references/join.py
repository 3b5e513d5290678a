"""The engine's log-probs and the references' joined to what an objective sees."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    def row_id(self) -> int:
        """64-bit hash of the row's content and occurrence."""
        ...


@dataclass(frozen=True)
class Rows:
    """Rows, and what the references say of them.

    Args:
        examples: as token ids.
        references: for each reference, one array of token log-probs a row (see `fill`).
        unconditional: one array of sums a row, (K,) nats; None where nobody reads it.
        has_partner: the last response of each row is another prompt's.
    """

    examples: Sequence[PreferenceRow]
    references: Sequence[Sequence[np.ndarray]] = ()
    unconditional: Sequence[np.ndarray] | None = None
    has_partner: bool = False

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.examples)

    def at(self, indices: Sequence[int]) -> "Rows":
        """Some of the rows, in this order."""
        few = self.unconditional
        return Rows(
            [self.examples[i] for i in indices],
            [[reference[i] for i in indices] for reference in self.references],
            None if few is None else [few[i] for i in indices],
            self.has_partner,
        )

    @property
    def tokens(self) -> int:
        """Prompt and response tokens, each counted once."""
        return sum(len(row.prompt) + sum(map(len, row.responses)) for row in self.examples)


def join(policy: TokenLogps, rows: Rows, *, context: BatchContext | None, state: State) -> View:
    """A view of these rows.

    Args:
        policy: the engine's log-probs of exactly these rows.
        rows: in the same order.
        context: the optimizer step around them; None: they are a step of their own.
        state: running scalars before this step.
    """
    like, examples = policy.logps, rows.examples
    stacked = [torch.from_numpy(np.concatenate(reference)) for reference in rows.references]
    alone = None if rows.unconditional is None else np.concatenate(rows.unconditional)
    return View(
        policy=policy.logps,
        response=policy.response,
        group=policy.group,
        pairs=_pairs(examples).to(like.device),
        references=torch.stack(stacked).to(like) if stacked else None,
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
