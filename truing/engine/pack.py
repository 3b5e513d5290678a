"""Which rows go into which forward pass: first fit, longest first, like beginnings together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from truing.engine.logps import TokenRow
from truing.engine.tree import common_blocks
from truing.errors import FitError


@dataclass(frozen=True)
class Bundle:
    """Rows that stay together, and the tokens they take."""

    rows: tuple[int, ...]
    tokens: int


def plan_passes(rows: Sequence[TokenRow], bundles: list[Bundle], budget: int) -> list[list[int]]:
    """First fit, longest first; ties keep the order of the bundles, which content alone gives.

    Raises:
        FitError: one bundle alone is over the budget.
    """
    passes: list[list[int]] = []
    room = _FirstRoom(len(bundles), budget)
    for bundle in sorted(bundles, key=lambda b: -b.tokens):
        if bundle.tokens > budget:
            raise too_long(rows[bundle.rows[0]], bundle.tokens, budget)
        number = room.take(bundle.tokens)
        if number == len(passes):
            passes.append([])
        passes[number] += bundle.rows
    return passes


def too_long(row: TokenRow, tokens: int, budget: int) -> FitError:
    """A row that fits no forward pass."""
    return FitError(
        f"a row needs {tokens} tokens in one forward pass, over the budget of {budget}",
        where=str(getattr(row, "where", "a row")),
        fix=f"set tokens_per_device={tokens} or more, or a smaller max_length",
    )


class _FirstRoom:
    """The first of many equal bins that still has room: a tree of the largest room below."""

    def __init__(self, count: int, budget: int) -> None:
        self._width = 1 << max(0, count - 1).bit_length()
        self._room = [budget] * (2 * self._width)

    def take(self, tokens: int) -> int:
        """Number of the first bin with so much room, which is taken from it."""
        node = 1
        while node < self._width:
            node *= 2
            if self._room[node] < tokens:
                node += 1
        self._room[node] -= tokens
        found = node - self._width
        while node > 1:
            node //= 2
            self._room[node] = max(self._room[2 * node], self._room[2 * node + 1])
        return found


def single_bundles(rows: Sequence[TokenRow]) -> list[Bundle]:
    """Every row by itself, each response with a copy of the prompt."""
    return [
        Bundle(
            (i,), len(rows[i].prompt) * len(rows[i].responses) + sum(map(len, rows[i].responses))
        )
        for i in _by_content(rows)
    ]


def shared_bundles(rows: Sequence[TokenRow], block: int, budget: int) -> list[Bundle]:
    """Rows that begin with the same blocks, cut where the budget is full."""
    bundles: list[Bundle] = []
    last: TokenRow | None = None
    seen: set[bytes] = set()
    for index in _by_content(rows):
        row = rows[index]
        is_same = last is not None and np.array_equal(last.prompt, row.prompt)
        if is_same:
            shared = len(row.prompt)
        else:
            shared = 0 if last is None else common_blocks(last.prompt, row.prompt, block)
            seen = set()
        new = {_key(r): len(r) for r in row.responses if _key(r) not in seen}
        cost = len(row.prompt) - shared + sum(new.values())
        if (shared or is_same) and bundles[-1].tokens + cost <= budget:
            bundles[-1] = Bundle((*bundles[-1].rows, index), bundles[-1].tokens + cost)
        else:
            new = {_key(r): len(r) for r in row.responses}
            bundles.append(Bundle((index,), len(row.prompt) + sum(new.values())))
            seen = set()
        seen |= set(new)
        last = row
    return bundles


def _key(tokens: np.ndarray) -> bytes:
    return np.ascontiguousarray(tokens, dtype=np.int64).tobytes()


def _by_content(rows: Sequence[TokenRow]) -> list[int]:
    """Rows in an order of their token ids alone; what begins alike is adjacent."""
    keys = [(_key(row.prompt), *map(_key, row.responses)) for row in rows]
    return sorted(range(len(rows)), key=keys.__getitem__)
