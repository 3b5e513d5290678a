"""What every engine path gives: the token log-probs of some rows, computed once each.

M response tokens, N responses, G rows, L prompt tokens, V vocabulary. Nats, float32 (float64 for
a float64 model).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


class TokenRow(Protocol):
    """A prompt and its responses as token ids; each response ends with its end token."""

    @property
    def prompt(self) -> np.ndarray:
        """Token ids of the prompt, at least one."""
        ...

    @property
    def responses(self) -> tuple[np.ndarray, ...]:
        """Token ids of each response, at least one each."""
        ...


@dataclass(frozen=True)
class TokenLogps:
    """Token log-probs of every response of some rows, in the rows' order."""

    logps: Float[Tensor, "M"]
    response: Int[Tensor, "M"]
    group: Int[Tensor, "N"]
    prompt: Float[Tensor, "L"] | None = None
    prompt_group: Int[Tensor, "L"] | None = None
    statistics: Mapping[str, Float[Tensor, "M"]] = field(
        default_factory=lambda: MappingProxyType({})
    )


@dataclass(frozen=True)
class Wanted:
    """What to compute beside the log-probs of the response tokens."""

    prompt: bool = False
    statistics: frozenset[str] = frozenset()


LOGPS_ONLY = Wanted()


class Engine(Protocol):
    """One way to compute token log-probs: how rows are laid out, and what a forward pass costs."""

    def plan(self, rows: Sequence[TokenRow]) -> list[list[int]]:
        """Split rows into forward passes that fit the token budget; a function of content alone.

        Raises:
            FitError: one row alone is over the budget.
        """
        ...

    def logps(self, model: torch.nn.Module, rows: Sequence[TokenRow], wanted: Wanted) -> TokenLogps:
        """One forward pass over these rows; the log-probs carry gradient where it is enabled."""
        ...


def _log_sum_sq(log_probs: Float[Tensor, "M V"]) -> Float[Tensor, "M"]:
    return torch.logsumexp(2 * log_probs, dim=-1)


def _entropy(log_probs: Float[Tensor, "M V"]) -> Float[Tensor, "M"]:
    return -(log_probs.exp() * log_probs).sum(dim=-1)


# Statistics over the vocabulary that a forward pass of the policy alone can give, by name.
STATISTICS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"log_sum_sq": _log_sum_sq, "entropy": _entropy}
)


def response_index(rows: Sequence[TokenRow], device: torch.device) -> tuple[Tensor, Tensor]:
    """Which response each response token belongs to (M,), and which row each response (N,)."""
    lengths = [len(response) for row in rows for response in row.responses]
    counts = [len(row.responses) for row in rows]
    response = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    group = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return response.to(device), group.to(device)
