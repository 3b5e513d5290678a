"""What a reference says of some rows: from the store where it lies there, computed where not."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from truing.core.progress import Progress
from truing.engine import TokenRow
from truing.engine.steady import Alone, Steady
from truing.errors import StoreError
from truing.references.entries import Asked, Places
from truing.references.keys import ModelKey
from truing.references.store import ROW_BYTES, TOKEN_BYTES, Shelf

# A shard is written when so many tokens or seconds have come together: what a kill can cost.
SHARD_TOKENS, SHARD_SECONDS = 2**18, 30.0
# Stored responses that are computed again before the others are believed.
VERIFIED = 2
# Mean absolute difference (nats) that another machine's rounding may leave.
TOLERANCE, HALF_TOLERANCE = 1e-3, 0.05


@dataclass(frozen=True)
class Source:
    """A model that is there, and what it is called in the store.

    Args:
        model: in evaluation mode.
        engine: whose values are the same bits in any company.
        path: where it was loaded from.
        key: of its shelf.
        reread: the key with the weights' files read again instead of remembered.
        autocast: opens the block in which it computes.
    """

    model: Any
    engine: Steady
    path: str
    key: ModelKey
    reread: Callable[[], ModelKey]
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext

    def logps(self, rows: Sequence[TokenRow]) -> list[np.ndarray]:
        """Of every response, in the order of the rows."""
        with torch.no_grad(), self.autocast():
            return self.engine.logps(self.model, rows)


@dataclass
class Filled:
    """What a reference said, and what it cost.

    Args:
        values: one array a row, the token log-probs of its responses one after another, nats; where
            they are very many they are read from the store when they are looked at.
        hits: distinct responses that lay in the store.
        computed: distinct responses that were computed.
        tokens: prompt and response tokens of the passes that computed them.
        seconds: all in all.
        size_before: bytes on the shelf.
        size_after: bytes on the shelf.
        notes: sentences for the user.
        fault: why the values could not be stored; "" where they were.
    """

    values: Sequence[np.ndarray]
    hits: int = 0
    computed: int = 0
    tokens: int = 0
    seconds: float = 0.0
    size_before: int = 0
    size_after: int = 0
    notes: list[str] = field(default_factory=list)
    fault: str = ""


def stored_values(
    source: Source,
    rows: Sequence[TokenRow],
    progress: Progress,
    *,
    description: str = "reference",
    verifies: bool = True,
    shelf_of: Callable[[ModelKey], Shelf] = Shelf.of,
) -> Filled:
    """Token log-probs of each row's responses under a model.

    Args:
        source: the model.
        rows: whose responses are scored.
        progress: shows the work, and is told what was found.
        description: what the work is called.
        verifies: a few stored values are computed again before the others are believed.
        shelf_of: where a model's values lie.
    """
    started = time.perf_counter()
    asked = Asked(rows)
    key, shelf = source.key, shelf_of(source.key)
    shelf.refresh()
    filled = Filled([], size_before=shelf.size)
    if verifies:
        key, shelf = _believed(source, shelf, asked, filled.notes, shelf_of)
    places = _placed(asked, shelf)
    missing = places.missing
    if len(missing):
        more = expected_bytes(len(missing), int(asked.lengths[missing].sum()))
        progress.note(
            f"{description}: {len(missing):,} of {len(asked):,} responses to compute, about "
            f"{in_bytes(more)} more on disk (now {in_bytes(filled.size_before)})"
        )
        with shelf.held(progress, places, description):
            places.look(shelf.entries)
            missing = places.missing
            _compute(source, shelf, places, filled, progress, description)
            places.look(shelf.entries)
    filled.hits = len(asked) - len(missing)
    shelf.describe(key, source.path)
    for name in shelf.damaged:
        filled.notes.append(f"a damaged shard of the reference was thrown away ({name})")
    filled.fault = shelf.fault
    if shelf.fault:
        filled.notes.append(f"the reference could not be stored, this run keeps it: {shelf.fault}")
    filled.values = places.rows()
    filled.size_after = shelf.size
    filled.seconds = time.perf_counter() - started
    return filled


def expected_bytes(responses: int, tokens: int) -> int:
    """What so many responses will take on disk."""
    return responses * ROW_BYTES + tokens * TOKEN_BYTES


def in_bytes(size: int) -> str:
    """A size on disk in words."""
    for unit, name in ((2**30, "GB"), (2**20, "MB"), (2**10, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"


def _placed(asked: Asked, shelf: Shelf) -> Places:
    places = Places(asked)
    places.look(shelf.entries)
    return places


def _believed(
    source: Source,
    shelf: Shelf,
    asked: Asked,
    notes: list[str],
    shelf_of: Callable[[ModelKey], Shelf],
) -> tuple[ModelKey, Shelf]:
    """The shelf, or an emptied or another one where its values are not the model's; its key."""
    if _agrees(source, shelf, asked):
        return source.key, shelf
    key = source.reread()
    if key != source.key:
        notes.append(f"{source.path}: the weights have changed under the same name and time")
        other = shelf_of(key)
        other.refresh()
        if _agrees(source, other, asked):
            return key, other
        shelf = other
    notes.append(f"stored values of {source.path} are not what it says now: computed again")
    shelf.forget()
    return key, shelf


@dataclass(frozen=True)
class Compared:
    """What a store holds of some rows, and how far it lies from what the model says now.

    Args:
        stored: distinct responses that lie there.
        missing: those that do not.
        checked: those that were computed again.
        gap: mean absolute difference over their tokens, nats.
        limit: what rounding may leave of it.
        stale: key under which the values lie, where the weights' files, read again, have another;
            "" where it is theirs.
    """

    stored: int
    missing: int
    checked: int
    gap: float
    limit: float
    stale: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the stored values are the model's; written so that NaN is not."""
        return self.gap <= self.limit and not self.stale


def compared(
    source: Source,
    rows: Sequence[TokenRow],
    count: int,
    shelf_of: Callable[[ModelKey], Shelf] = Shelf.of,
) -> Compared:
    """Compute a few stored responses again and read the weights' files anew.

    Nothing is stored or taken away.

    Args:
        source: the model.
        rows: whose responses are looked for.
        count: how many are computed again, chosen by their keys.
        shelf_of: where a model's values lie.
    """
    shelf = shelf_of(source.key)
    shelf.refresh(mends=False)
    found = _compared(source, shelf, Asked(rows), count)
    is_theirs = source.reread() == source.key
    return found if is_theirs else replace(found, stale=source.key.name)


def _agrees(source: Source, shelf: Shelf, asked: Asked) -> bool:
    """Whether the model still says what is stored of a few responses."""
    return _compared(source, shelf, asked, VERIFIED).agrees


def _compared(source: Source, shelf: Shelf, asked: Asked, count: int) -> Compared:
    places = _placed(asked, shelf)
    some = _shortest(asked, places.there, count)
    gap = 0.0
    if some:
        now = source.logps([Alone(prompt, (one,)) for prompt, one in map(asked.text, some)])
        then = [places.value(number) for number in some]
        gap = float(np.abs(np.concatenate(now) - np.concatenate(then)).mean())
    is_exact = source.key.dtype in {"float32", "float64"} and source.key.quantisation == "none"
    limit = TOLERANCE if is_exact else HALF_TOLERANCE
    return Compared(len(places.there), len(places.missing), len(some), gap, limit)


def _shortest(asked: Asked, there: np.ndarray, count: int) -> list[int]:
    """The shortest by far are as good a proof, and cost next to nothing; ties go by their keys."""
    if not len(there):
        return []
    totals = asked.totals[there]
    last = np.partition(totals, min(count, len(totals)) - 1)[min(count, len(totals)) - 1]
    few = set(there[totals <= last].tolist())
    ordered = sorted((asked.totals[n], key, n) for key, n in asked.number.items() if n in few)
    return [number for _, _, number in ordered[:count]]


def _compute(
    source: Source,
    shelf: Shelf,
    places: Places,
    filled: Filled,
    progress: Progress,
    description: str,
) -> None:
    """All that is missing, a shard every so often; the order of what is missing changes no bit."""
    asked, missing = places.asked, places.missing
    keys = list(asked.number)
    waiting: dict[bytes, np.ndarray] = {}
    tokens, since = 0, time.monotonic()
    with progress.task(total=len(missing), description=description) as task:
        for start in range(0, len(missing), _AT_ONCE):
            rows, numbers = _by_prompt(asked, missing[start : start + _AT_ONCE].tolist())
            for indices in source.engine.plan(rows):
                some = [rows[i] for i in indices]
                found = source.logps(some)
                names = [keys[number] for i in indices for number in numbers[i]]
                waiting |= dict(zip(names, found, strict=True))
                count = sum(map(len, found))
                tokens += count
                filled.tokens += count + sum(len(row.prompt) for row in some)
                task.advance(len(names))
                if tokens >= SHARD_TOKENS or time.monotonic() - since >= SHARD_SECONDS:
                    _put(shelf, waiting)
                    waiting, tokens, since = {}, 0, time.monotonic()
    _put(shelf, waiting)
    filled.computed = len(missing)


def _put(shelf: Shelf, waiting: dict[bytes, np.ndarray]) -> None:
    if not waiting:
        return
    # In order of the keys: the same values make the same file.
    names = sorted(waiting)
    try:
        shelf.put(names, [waiting[name] for name in names])
    except StoreError:
        return  # `shelf.fault` says it; the values stay in memory


def _by_prompt(asked: Asked, missing: Sequence[int]) -> tuple[list[Alone], list[list[int]]]:
    """Responses to one prompt together, so that it is read once, but not too many of them."""
    groups: dict[bytes, list[int]] = {}
    for number in missing:
        groups.setdefault(asked.text(number)[0].tobytes(), []).append(number)
    rows: list[Alone] = []
    numbers: list[list[int]] = []
    for group in groups.values():
        for start in range(0, len(group), _TOGETHER):
            some = group[start : start + _TOGETHER]
            texts = [asked.text(number) for number in some]
            rows.append(Alone(texts[0][0], tuple(response for _, response in texts)))
            numbers.append(some)
    return rows, numbers


# Responses that share one reading of their prompt.
_TOGETHER = 16
# Responses whose passes are planned together: what a pass over very many holds in memory.
_AT_ONCE = 2**16
