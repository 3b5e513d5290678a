"""Several processes as one: which this is, what share of the work is its own, what all of them say.

A process by itself is rank 0 of 1, and everything here is then a matter of course.
"""

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import distributed

from truing.engine.logps import TokenRow
from truing.errors import StoppedError, TruingError

T = TypeVar("T")

# What torch says where a connection to another process broke off or stayed silent.
_LOST = ("connection closed", "connection reset", "timed out", "broken pipe", "connectfullmesh")


def world() -> int:
    """How many processes compute this run together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def is_first() -> bool:
    """Whether this is the process that writes files and speaks."""
    return rank() == 0


@contextmanager
def together(timeout_s: float) -> Iterator[None]:
    """Join the processes that `torchrun` or `accelerate launch` started.

    Args:
        timeout_s: a process that says nothing for so long is given up.

    Raises:
        StoppedError: another process was lost.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    try:
        _join(timeout_s)
        yield
        wait()
    except RuntimeError as error:
        if not _is_loss(error):
            raise
        raise _lost(error) from error


def _join(timeout_s: float) -> None:
    """Once a process: a second meeting would find the addresses of the first."""
    if distributed.is_initialized():
        return
    has_cuda = torch.cuda.is_available()
    if has_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "cuda:nccl,cpu:gloo" if has_cuda else "gloo"
    distributed.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
    atexit.register(distributed.destroy_process_group)


def _is_loss(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, distributed.DistError) or any(word in text for word in _LOST)


def _lost(error: RuntimeError) -> StoppedError:
    first = str(error).strip().splitlines()[0]
    return StoppedError(
        f"another process of this run was lost or stayed silent ({first[:200]})",
        where=f"rank {rank()} of {world()}",
        fix="look at what the lost process said last (one that was only slow: a larger "
        "trainer.ddp_timeout, in seconds); go on with truing train --resume",
    )


def gathered(value: T) -> list[T]:
    """What every process says, in the order of their numbers."""
    if world() == 1:
        return [value]
    found: list[T] = [value] * world()
    distributed.all_gather_object(found, value)
    return found


def wait() -> None:
    """Until all are here."""
    if world() > 1:
        distributed.barrier()


def first_then_others(work: Callable[[], T]) -> T:
    """Do the work in the first process; the others do it when its files lie there to be read.

    Raises:
        TruingError: what the first process met, in every process.
    """
    found = only_first(work)
    return work() if found is None else found


def only_first(work: Callable[[], T]) -> T | None:
    """Do the work in the first process alone; a fault there is one everywhere.

    Raises:
        TruingError: what the first process met, in every process.
    """
    found, error = _tried(work) if is_first() else (None, None)
    fault = gathered(error)[0]
    if fault is not None:
        raise fault
    return found


def _tried(work: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return work(), None
    except (TruingError, OSError) as error:
        return None, error


def mine(passes: Sequence[list[int]]) -> list[tuple[list[int], bool]]:
    """This process's share of forward passes, as many as any other's.

    The second of each is False where a pass is done for company alone: processes whose weights
    are sharded must run their forward passes together.
    """
    size = world()
    count = -(-len(passes) // size)
    own = [passes[number] for number in range(rank(), len(passes), size)]
    return [(one, True) for one in own] + [(list(passes[0]), False)] * (count - len(own))


def deal(
    passes: Sequence[list[int]], rows: Sequence[TokenRow], size: int, *, is_shared: bool
) -> list[list[tuple[int, list[int]]]]:
    """Forward passes dealt out to `size` processes: as many to each, with near-equal tokens.

    Passes are cut where their number is not a multiple of `size`; where there are fewer rows than
    that, some passes are empty. Every process comes to the same result.

    Args:
        passes: rows of each.
        rows: of the step.
        size: processes.
        is_shared: a pass takes a prompt of several rows, or a response of several, once.

    Returns:
        For each process its passes: a number that orders all of them, and the rows.
    """

    def growth(part: Sequence[int]) -> list[int]:
        return _growth([rows[i] for i in part], is_shared=is_shared)

    parts = _cut(passes, growth, -(-len(passes) // size) * size)
    cost = [sum(growth(part)) for part in parts]
    dealt: list[list[tuple[int, list[int]]]] = [[] for _ in range(size)]
    load = [0] * size
    order = sorted(range(len(parts)), key=lambda number: -cost[number])
    for start in range(0, len(parts), size):
        # The largest of each round goes to whoever has least so far.
        lightest = sorted(range(size), key=lambda number: (load[number], number))
        for number, part in zip(lightest, order[start : start + size], strict=True):
            dealt[number].append((part, parts[part]))
            load[number] += cost[part]
    return dealt


def _growth(rows: Sequence[TokenRow], *, is_shared: bool) -> list[int]:
    """By how many tokens each row makes a pass longer that holds the rows before it."""
    if not is_shared:
        return [len(row.prompt) * len(row.responses) + sum(map(len, row.responses)) for row in rows]
    seen: set[tuple[bytes, ...]] = set()
    grown: list[int] = []
    for row in rows:
        prompt = row.prompt.tobytes()
        own: dict[tuple[bytes, ...], int] = {(prompt,): len(row.prompt)}
        own |= {(prompt, one.tobytes()): len(one) for one in row.responses}
        grown.append(sum(size for key, size in own.items() if key not in seen))
        seen |= own.keys()
    return grown


def _cut(
    passes: Sequence[list[int]], growth: Callable[[Sequence[int]], list[int]], count: int
) -> list[list[int]]:
    """`count` parts of the passes, the largest cut first; empty ones where no row is left."""
    added = [growth(rows) for rows in passes]
    cost = [sum(tokens) for tokens in added]
    pieces = [1] * len(passes)
    for _ in range(count - len(passes)):
        able = [n for n, rows in enumerate(passes) if pieces[n] < len(rows)]
        if not able:
            break
        pieces[max(able, key=lambda n: (cost[n] / pieces[n], -n))] += 1
    parts = [
        part
        for rows, tokens, few in zip(passes, added, pieces, strict=True)
        for part in _even(rows, tokens, few)
    ]
    return parts + [[] for _ in range(count - len(parts))]


def _even(rows: list[int], tokens: Sequence[int], count: int) -> list[list[int]]:
    """The rows in `count` runs of near-equal tokens, none empty; neighbours stay together."""
    ends = np.cumsum(tokens)
    cuts = [0]
    for number in range(1, count):
        at = int(np.searchsorted(ends, ends[-1] * number / count, side="right"))
        cuts.append(min(max(at, cuts[-1] + 1), len(rows) - (count - number)))
    cuts.append(len(rows))
    return [rows[start:end] for start, end in pairwise(cuts)]
