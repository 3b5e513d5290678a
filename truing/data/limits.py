"""What happens to rows over the length limit: a policy with a name, never a silence."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from truing.data.examples import Ids

Truncation = Literal["drop", "keep_end", "keep_start", "cut"]


@dataclass(frozen=True)
class Fitted:
    """A row within the limit.

    Args:
        prompt: ids.
        responses: ids of each.
        cut: which responses lost their end.
        lost: tokens cut away, prompt and responses together.
    """

    prompt: Ids
    responses: tuple[Ids, ...]
    cut: tuple[bool, ...]
    lost: int = 0


def _drop(prompt: Ids, responses: tuple[Ids, ...], limit: int, begin: int) -> Fitted | None:
    return None


def _keep_end(prompt: Ids, responses: tuple[Ids, ...], limit: int, begin: int) -> Fitted | None:
    room = limit - max(map(len, responses))
    begin = min(begin, len(prompt))
    if room < begin + 1:
        return None
    kept = np.concatenate([prompt[:begin], prompt[len(prompt) - (room - begin) :]])
    return Fitted(kept, responses, (False,) * len(responses), len(prompt) - len(kept))


def _keep_start(prompt: Ids, responses: tuple[Ids, ...], limit: int, begin: int) -> Fitted | None:
    room = limit - max(map(len, responses))
    if room < begin + 1:
        return None
    return Fitted(prompt[:room], responses, (False,) * len(responses), len(prompt) - room)


def _cut(prompt: Ids, responses: tuple[Ids, ...], limit: int, begin: int) -> Fitted | None:
    room = limit - len(prompt)
    if room < 1:
        return None
    kept = tuple(response[:room] for response in responses)
    lost = sum(map(len, responses)) - sum(map(len, kept))
    return Fitted(prompt, kept, tuple(len(response) > room for response in responses), lost)


POLICIES: dict[Truncation, Callable[[Ids, tuple[Ids, ...], int, int], Fitted | None]] = {
    "drop": _drop,
    "keep_end": _keep_end,
    "keep_start": _keep_start,
    "cut": _cut,
}


def fit(
    prompt: Ids, responses: tuple[Ids, ...], limit: int, truncation: Truncation, begin: int = 0
) -> Fitted | None:
    """The row within `limit` tokens (prompt and longest response), or None: it is left out.

    `drop` leaves it out. `keep_end` and `keep_start` shorten the prompt to its end or start, and
    keep the first `begin` tokens (the begin token) and at least one more; the responses stay
    whole. `cut` shortens the responses, which then have no end token; at least one token stays.
    """
    if len(prompt) + max(map(len, responses)) <= limit:
        return Fitted(prompt, responses, (False,) * len(responses))
    return POLICIES[truncation](prompt, responses, limit, begin)
