"""Examples: rows as token ids."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truing.data.where import Where

Ids = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Example:
    """A prompt and its responses as token ids; nothing padded.

    Args:
        prompt: token ids, at least one.
        responses: token ids of each, at least one each, the end token included unless `cut`.
        pairs: (chosen, rejected) indices into `responses`; () for an unpaired row.
        row_id: signed 64-bit hash of content and occurrence.
        where: file and row.
        scores: one a response, or None.
        labels: one a response, or None.
        win_probability: one a response, or None.
        cut: one a response: it was cut at the limit and has no end token.
        learned: one mask a response, true on the tokens that carry loss (those of the assistant,
            where a response has turns of others too); None: all do.
    """

    prompt: Ids
    responses: tuple[Ids, ...]
    pairs: tuple[tuple[int, int], ...]
    row_id: int
    where: Where
    scores: tuple[float, ...] | None = None
    labels: tuple[bool, ...] | None = None
    win_probability: tuple[float, ...] | None = None
    cut: tuple[bool, ...] = ()
    learned: tuple[NDArray[np.bool_], ...] | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens of the prompt and of all responses."""
        return len(self.prompt) + sum(map(len, self.responses))
