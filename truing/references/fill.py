"""Computing what a reference says, once, before training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from truing.core.progress import Progress
from truing.engine import LOGPS_ONLY, Engine, TokenRow


class LearnedRow(TokenRow, Protocol):
    """A row that says which tokens of its responses carry loss."""

    @property
    def learned(self) -> tuple[np.ndarray, ...] | None:
        """One mask a response; None: all tokens do."""
        ...


def fill(
    model: torch.nn.Module,
    rows: Sequence[TokenRow],
    engine: Engine,
    progress: Progress,
    description: str = "reference",
) -> list[np.ndarray]:
    """Token log-probs of each row's responses under the model, one float array a row.

    A row's responses stand one after another in its array, (tokens of the row,) nats. Rows pass
    in an order of content alone (longest first), so the values do not depend on the data's order.
    """
    values: list[np.ndarray | None] = [None] * len(rows)
    passes = engine.plan(rows)
    with torch.no_grad(), progress.task(total=len(rows), description=description) as task:
        for indices in passes:
            some = [rows[i] for i in indices]
            logps = engine.logps(model, some, LOGPS_ONLY).logps.cpu().numpy()
            ends = np.cumsum([sum(map(len, row.responses)) for row in some])[:-1]
            for index, part in zip(indices, np.split(logps, ends), strict=True):
                values[index] = part
            task.advance(len(indices))
    assert all(value is not None for value in values), "the plan left a row out"
    return [value for value in values if value is not None]


@dataclass(frozen=True)
class _Alone:
    """A row's responses after a begin token alone."""

    prompt: np.ndarray
    responses: tuple[np.ndarray, ...]


def fill_unconditional(
    model: torch.nn.Module,
    rows: Sequence[LearnedRow],
    begin: int,
    engine: Engine,
    progress: Progress,
) -> list[np.ndarray]:
    """log p(y) without the prompt: sums over each response's tokens, one array (K,) a row, nats.

    Tokens that carry no loss are read, and left out of the sums.

    Args:
        model: the reference.
        rows: whose responses are scored.
        begin: token that stands where the prompt would be.
        engine: computes token log-probs.
        progress: shows the work.
    """
    prompt = np.array([begin], dtype=np.int32)
    alone = [_Alone(prompt, row.responses) for row in rows]
    values = fill(model, alone, engine, progress, "reference, no prompt")
    return [_sums(value, row) for value, row in zip(values, rows, strict=True)]


def _sums(values: np.ndarray, row: LearnedRow) -> np.ndarray:
    masks = row.learned or (np.True_,) * len(row.responses)
    parts = np.split(values, np.cumsum([*map(len, row.responses)])[:-1])
    return np.array([(part * mask).sum() for part, mask in zip(parts, masks, strict=True)])
