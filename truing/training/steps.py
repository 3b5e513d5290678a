"""One item of the data loader is one whole optimizer step: which rows it holds, in which order."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler


@dataclass(frozen=True)
class StepRows:
    """The rows of one optimizer step, as indices into the training examples."""

    indices: tuple[int, ...]


class _Indices(Dataset[int]):
    """Index i is item i: the rows themselves stay where they are."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> int:
        return index


class StepSampler(Sampler[list[int]]):
    """Which rows make which step: a function of (seed, epoch) and of nothing else.

    Args:
        num_rows: rows of the training set.
        rows_per_step: rows of one optimizer step; the last step of an epoch may have fewer.
        seed: of the run.
        shuffle: False keeps the order of the files in every epoch.
    """

    def __init__(self, num_rows: int, rows_per_step: int, *, seed: int, shuffle: bool) -> None:
        self._num_rows, self._rows_per_step = num_rows, rows_per_step
        self._seed, self._shuffle = seed, shuffle
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is this epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self._num_rows / self._rows_per_step)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.arange(self._num_rows)
        if self._shuffle:
            np.random.default_rng([self._seed, self.epoch]).shuffle(order)
        for start in range(0, self._num_rows, self._rows_per_step):
            yield order[start : start + self._rows_per_step].tolist()


def _as_step(indices: Sequence[int]) -> StepRows:
    return StepRows(tuple(indices))


class StepLoader(DataLoader[Any]):
    """The loader over optimizer steps; every process sees every step whole."""

    def __init__(self, sampler: StepSampler, num_rows: int) -> None:
        super().__init__(_Indices(num_rows), batch_sampler=sampler, collate_fn=_as_step)

    def set_epoch(self, epoch: int) -> None:
        """Told by the trainer before each epoch."""
        sampler = self.batch_sampler
        assert isinstance(sampler, StepSampler)
        sampler.set_epoch(epoch)


def drawn(num_rows: int, count: int, step: int, seed: int) -> list[int]:
    """The rows that a step draws from an auxiliary source: pass after pass, each in its own order.

    Args:
        num_rows: rows of the source.
        count: rows to draw.
        step: optimizer steps done before, each of which drew `count`.
        seed: of the run.
    """
    places = range(step * count, (step + 1) * count)
    orders = {
        turn: np.random.default_rng([seed, turn, num_rows]).permutation(num_rows)
        for turn in {place // num_rows for place in places}
    }
    return [int(orders[place // num_rows][place % num_rows]) for place in places]
