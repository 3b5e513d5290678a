"""Log-probs that are the same bits whatever stands beside a response in its forward pass.

A stored value must not depend on which rows were missing when it was computed. So a response is
attended in calls of its own, no two prompts share a part, matrix products never get thin, and a
probe compares the bits on the very model. Where they differ (experts, some kernels), every
response passes alone. T tokens of the packed row, U predicted tokens.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn

from truing.engine.forward import Packed, head_of, install
from truing.engine.fused import TILE_ELEMENTS, HeadJob
from truing.engine.logps import LOGPS_ONLY, TokenRow, device_of
from truing.engine.padded import PaddedEngine
from truing.engine.probe import ProbeRow
from truing.engine.tree import ROOT, SegmentTree, TreeBuilder

# Tokens of a pass without gradient, where a row alone needs no more.
BUDGET = 8192
# A product of fewer rows than this goes through another kernel than a large one.
THICK = 64
# Rows of the probe.
_PROBED = 6
# Passes that are looked at for room.
_OPEN = 64

Autocast = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Alone:
    """One response behind its prompt, or some; a `TokenRow` with nothing else."""

    prompt: np.ndarray
    responses: tuple[np.ndarray, ...]


class Steady(Protocol):
    """One way to compute values that depend on a prompt and its response alone."""

    def plan(self, rows: Sequence[TokenRow]) -> list[list[int]]:
        """Split rows into forward passes, longest rows first."""
        ...

    def logps(self, model: nn.Module, rows: Sequence[TokenRow]) -> list[np.ndarray]:
        """Token log-probs of every response, float32 nats, in the order of the rows."""
        ...


@dataclass(frozen=True)
class SteadyPacked:
    """Prompts once or once a response, packed; every response in attention calls of its own.

    Args:
        shares: a prompt stands once for all its responses.
        budget: tokens of a pass; a row that needs more passes alone.
        is_full: fill every pass up to a size that depends on its longest row alone. Needed where
            the kernels of a product depend on its number of rows.
    """

    shares: bool
    budget: int = BUDGET
    is_full: bool = False

    def plan(self, rows: Sequence[TokenRow]) -> list[list[int]]:
        """See `Steady.plan`."""
        return _first_fit([self._size(row) for row in rows], self.budget)

    def _size(self, row: TokenRow) -> int:
        copies = 1 if self.shares else len(row.responses)
        return copies * len(row.prompt) + sum(map(len, row.responses))

    def logps(self, model: nn.Module, rows: Sequence[TokenRow]) -> list[np.ndarray]:
        """See `Steady.logps`."""
        base = install(model)
        device = device_of(model)
        head, module = head_of(base)
        del module
        height = max(THICK, TILE_ELEMENTS // len(head.weight) // THICK * THICK)
        tokens = sum(self._size(row) for row in rows)
        tree, ids, places = self._laid(rows, self._room(tokens) - tokens)
        wanted = np.concatenate([np.arange(start, end) for start, end in places])
        step = height if self.is_full else THICK
        wanted = np.concatenate([wanted, np.repeat(wanted[-1], -len(wanted) % step)])

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64)).to(device)

        job = HeadJob(tile_elements=height * len(head.weight))
        packed = Packed(tree, tensor(tree.predictors[wanted]), tensor(ids[wanted]), job)
        found: Mapping[str, torch.Tensor] = model(
            input_ids=tensor(ids)[None], position_ids=tensor(tree.positions)[None], packed=packed
        )
        ends = np.cumsum([end - start for start, end in places])
        return _split(found["logps"], ends)

    def _room(self, tokens: int) -> int:
        """Tokens of the pass, filler included."""
        if not self.is_full:
            return max(tokens, THICK)
        room = self.budget
        while room < tokens:
            room *= 2
        return room

    def _laid(
        self, rows: Sequence[TokenRow], filler: int
    ) -> tuple[SegmentTree, np.ndarray, list[tuple[int, int]]]:
        builder = TreeBuilder()
        places: list[tuple[int, int]] = []
        runs: list[slice] = []
        others: list[tuple[slice, slice]] = []

        def put(ids: np.ndarray, parent: int) -> int:
            number = builder.add(ids, parent)
            runs.append(slice(builder[number].start, builder[number].end))
            return number

        for row in rows:
            prompt = put(row.prompt, ROOT) if self.shares else ROOT
            for response in row.responses:
                ids = response if self.shares else np.concatenate([row.prompt, response])
                own = runs[put(ids, prompt)]
                places.append((own.stop - len(response), own.stop))
                if self.shares:
                    others.append((runs[prompt], own))
        # In short pieces: models with learned positions have only so many.
        for start in range(0, filler, THICK):
            put(np.zeros(min(THICK, filler - start), dtype=np.int64), ROOT)
        tree, ids = builder.finish()
        # One call a segment and one a response, so that the order of the sums is always the same.
        tree.derived["parts"] = runs, others
        return tree, ids, places


@dataclass(frozen=True)
class SteadyPadded:
    """Sequences padded to a width of whole steps, in batches of a height that the width gives.

    Args:
        budget: tokens of a pass.
    """

    budget: int = BUDGET

    def plan(self, rows: Sequence[TokenRow]) -> list[list[int]]:
        """See `Steady.plan`: rows of one width together."""
        by_width: dict[int, list[int]] = {}
        for index, row in enumerate(rows):
            by_width.setdefault(self._width(row), []).append(index)
        passes = []
        for width in sorted(by_width, reverse=True):
            sizes = [len(rows[i].responses) for i in by_width[width]]
            for some in _first_fit(sizes, max(1, self.budget // width - 1)):
                passes.append([by_width[width][i] for i in some])
        return passes

    @staticmethod
    def _width(row: TokenRow) -> int:
        longest = len(row.prompt) + max(map(len, row.responses))
        return -(-longest // THICK) * THICK

    def logps(self, model: nn.Module, rows: Sequence[TokenRow]) -> list[np.ndarray]:
        """See `Steady.logps`."""
        width = max(map(self._width, rows))
        count = sum(len(row.responses) for row in rows)
        # The fillers hold the batch at its height and width.
        height = max(count + 1, self.budget // width)
        filler = Alone(np.zeros(1, np.int32), (np.zeros(width - 1, np.int32),) * (height - count))
        plain = PaddedEngine(height * width)
        found = plain.logps(model, [*rows, filler], LOGPS_ONLY).logps
        ends = np.cumsum([len(response) for row in rows for response in row.responses])
        return _split(found, ends)


@dataclass(frozen=True)
class SteadyAlone:
    """Every response in a forward pass of its own: slow, and right by construction."""

    def plan(self, rows: Sequence[TokenRow]) -> list[list[int]]:
        """See `Steady.plan`."""
        return [[index] for index in range(len(rows))]

    def logps(self, model: nn.Module, rows: Sequence[TokenRow]) -> list[np.ndarray]:
        """See `Steady.logps`."""
        found = []
        for row in rows:
            for response in row.responses:
                alone = Alone(row.prompt, (response,))
                plain = PaddedEngine(len(row.prompt) + len(response))
                found.append(_numbers(plain.logps(model, [alone], LOGPS_ONLY).logps))
        return found


@dataclass(frozen=True)
class SteadyChoice:
    """A steady engine proved on a model, and its name, which belongs to what it computes."""

    engine: Steady
    name: str


def choose_steady(
    kind: str,
    model: nn.Module,
    budget: int = BUDGET,
    autocast: Autocast = nullcontext,
    known: str = "",
) -> SteadyChoice:
    """The fastest way whose values are the same bits in any company, on this model and device.

    Args:
        kind: the engine that is exact on the model: `shared`, `packed` or `padded`.
        model: with its real weights.
        budget: tokens of a pass.
        autocast: opens the block in which the values are computed.
        known: the name of an earlier choice on this very model and machine, taken without proof.
    """
    device = device_of(model).type
    ways: dict[str, Steady] = {}
    # On a CPU one sequence fills the cores, and products of any thickness but the thinnest agree.
    if device == "cpu" and kind != "padded":
        ways[f"{kind} on cpu"] = SteadyPacked(kind == "shared", budget)
    if device != "cpu":
        ways[f"{kind}, full on {device}"] = (
            SteadyPadded(budget)
            if kind == "padded"
            else SteadyPacked(kind == "shared", budget, is_full=True)
        )
    alone = SteadyChoice(SteadyAlone(), f"alone on {device}")
    if known == alone.name:
        return alone
    for name, way in ways.items():
        if name == known:
            return SteadyChoice(way, name)
        with torch.no_grad(), autocast():
            if _is_steady(way, model):
                return SteadyChoice(way, name)
    return alone


def _is_steady(way: Steady, model: nn.Module) -> bool:
    """Whether rows together, in another order and alone give the same bits."""
    rows = _probe_rows(model)
    together = way.logps(model, rows)
    backwards = way.logps(model, rows[::-1])
    alone = [values for row in rows for values in way.logps(model, [row])]
    firsts = np.cumsum([0, *(len(row.responses) for row in rows)])
    turned = [
        values
        for number in range(len(rows))
        for values in backwards[firsts[-1] - firsts[number + 1] : firsts[-1] - firsts[number]]
    ]
    return all(
        np.array_equal(one, two) and np.array_equal(one, three)
        for one, two, three in zip(together, turned, alone, strict=True)
    )


def _probe_rows(model: nn.Module) -> list[ProbeRow]:
    """A few prompts with two responses each, of many lengths; the same each time."""
    config = getattr(model, "config", None)
    text = config.get_text_config() if config is not None else None
    vocabulary = int(getattr(text, "vocab_size", 0) or 32)
    most = int(getattr(text, "max_position_embeddings", None) or 256) // 2
    draw = np.random.default_rng(0)

    def some(count: int) -> np.ndarray:
        return draw.integers(0, vocabulary, max(1, min(count, most))).astype(np.int32)

    return [
        ProbeRow(some(3 + 13 * number), (some(1 + 7 * number), some(50 - 5 * number)))
        for number in range(_PROBED)
    ]


def _first_fit(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """First fit, longest first; what is over the budget stands alone."""
    passes: list[list[int]] = []
    rooms: list[int] = []
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        for number in range(max(0, len(rooms) - _OPEN), len(rooms)):
            if rooms[number] >= sizes[index]:
                passes[number].append(index)
                rooms[number] -= sizes[index]
                break
        else:
            passes.append([index])
            rooms.append(budget - sizes[index])
    return passes


def _split(found: torch.Tensor, ends: np.ndarray) -> list[np.ndarray]:
    return np.split(_numbers(found)[: ends[-1]], ends[:-1])


def _numbers(found: torch.Tensor) -> np.ndarray:
    return found.detach().to(torch.float32).cpu().numpy()
