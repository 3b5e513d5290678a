"""What every engine path gives: the token log-probs of some rows, computed once each.

M response tokens, N responses, G rows, L prompt tokens, V vocabulary. Nats, float32 (float64 for
a float64 model).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from truing.engine.statistics import STATISTICS
from truing.errors import NeedsError


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
    """Token log-probs of every response of some rows, in the rows' order.

    `prompt_end` is the last hidden state of each prompt, which heads read.
    """

    logps: Float[Tensor, "M"]
    response: Int[Tensor, "M"]
    group: Int[Tensor, "N"]
    prompt: Float[Tensor, "L"] | None = None
    prompt_group: Int[Tensor, "L"] | None = None
    statistics: Mapping[str, Float[Tensor, "M"]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    prompt_end: Float[Tensor, "G D"] | None = None


# Opens a block in which the yielded model is the reference: another model, or the policy with its
# adapters off.
LiveReference = Callable[[], AbstractContextManager[torch.nn.Module]]


@dataclass(frozen=True)
class Wanted:
    """What to compute beside the log-probs of the response tokens.

    Args:
        prompt: log-probs of the prompt's tokens as well, but for each prompt's first.
        statistics: names of `truing.engine.statistics.STATISTICS`.
        live_reference: the reference, for the statistics that read one; it runs on the same rows
            without gradient.
        prompt_end: the last hidden state of each prompt.
    """

    prompt: bool = False
    statistics: frozenset[str] = frozenset()
    live_reference: LiveReference | None = None
    prompt_end: bool = False

    @property
    def named(self) -> tuple[str, ...]:
        """The statistics in order.

        Raises:
            NeedsError: an unknown one, or one that reads a reference where there is none.
        """
        for name in self.statistics:
            if name not in STATISTICS:
                raise NeedsError(
                    f"needs the vocabulary statistic {name!r}, which no engine computes",
                    where=name,
                    fix=f"use one of {', '.join(STATISTICS)}",
                )
            if STATISTICS[name].reads_reference and self.live_reference is None:
                raise NeedsError(
                    f"the statistic {name!r} needs the reference model at every step",
                    where=name,
                    fix="give `live_reference`",
                )
        return tuple(sorted(self.statistics))


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


# Name of the attribute under which an offloaded model keeps the device that it computes on.
COMPUTES_ON = "truing_computes_on"


def device_of(model: torch.nn.Module) -> torch.device:
    """Where a model computes; the weights of an offloaded one lie elsewhere."""
    device = getattr(model, COMPUTES_ON, None)
    return next(model.parameters()).device if device is None else device


def response_index(rows: Sequence[TokenRow], device: torch.device) -> tuple[Tensor, Tensor]:
    """Which response each response token belongs to (M,), and which row each response (N,)."""
    lengths = [len(response) for row in rows for response in row.responses]
    counts = [len(row.responses) for row in rows]
    response = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    group = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return response.to(device), group.to(device)
