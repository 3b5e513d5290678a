"""A reference with another tokenizer: the same text in its own tokens, a sum for each response."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from truing.data import Example
from truing.engine import TokenRow
from truing.errors import NeedsError


def means_the_same(policy: Any, other: Any) -> bool:
    """Whether two tokenizers mean the same by every id that both have.

    One may know tokens that the other does not (added ones): the ids of a text under the policy's
    tokenizer are then read by the other's model all the same.
    """
    one, two = policy.get_vocab(), other.get_vocab()
    small, large = (one, two) if len(one) <= len(two) else (two, one)
    return all(large.get(token) == number for token, number in small.items())


def same_rows(rows: Sequence[Example], others: Sequence[Example], reference: str) -> list[Example]:
    """Each row in the other tokenizer's tokens, found by its id.

    Args:
        rows: in the policy's tokens.
        others: the same data read with the reference's tokenizer; may hold more rows.
        reference: how it is written, for messages.

    Raises:
        NeedsError: a row is not there: it is over what the reference's model can read.
    """
    by_id = {row.row_id: row for row in others}
    found = []
    for row in rows:
        other = by_id.get(row.row_id)
        if other is None or len(other.responses) != len(row.responses):
            raise NeedsError(
                f"{row.where} cannot be read by the reference {reference}: in its own tokens it is "
                "over what that model can read, or its responses are the same",
                where="reference",
                fix="leave such rows out (a smaller max_length), or use another reference",
            )
        found.append(other)
    return found


def response_sums(values: Sequence[np.ndarray], rows: Sequence[TokenRow]) -> list[np.ndarray]:
    """One sum for each response, (K,) float64 nats a row; tokens that carry no loss left out.

    Args:
        values: token log-probs of each row's responses, one after another.
        rows: in the tokens that were scored.
    """
    found = []
    for row, tokens in zip(rows, values, strict=True):
        ends = np.cumsum([len(response) for response in row.responses])[:-1]
        parts = np.split(np.asarray(tokens, dtype=np.float64), ends)
        masks = getattr(row, "learned", None) or (None,) * len(parts)
        found.append(
            np.array(
                [
                    part.sum() if mask is None else part[mask].sum()
                    for part, mask in zip(parts, masks, strict=True)
                ]
            )
        )
    return found
