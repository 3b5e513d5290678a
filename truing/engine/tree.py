"""Segments of one packed row and how they see each other.

A segment is a run of tokens that attends to its ancestors and, causally, to itself. Segments stand
in the order of a walk down the tree, so everything below a segment follows it without a gap.
T tokens of the packed row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

ROOT = -1


@dataclass(frozen=True)
class Segment:
    """A run of tokens of the packed row.

    Args:
        start: its first token in the packed row.
        length: its tokens, at least one.
        parent: the segment it continues, or ROOT.
        before: tokens of all its ancestors, which is the position of its first token.
    """

    start: int
    length: int
    parent: int
    before: int

    @property
    def end(self) -> int:
        """The first token after it in the packed row."""
        return self.start + self.length

    @property
    def depth(self) -> int:
        """Tokens from the root to its end."""
        return self.before + self.length


@dataclass(frozen=True)
class SegmentTree:
    """All segments of a packed row; plain numbers, so that it passes through any wrapper."""

    segments: tuple[Segment, ...]
    # Tensors that attention derives from the numbers, once a batch, and shares across layers.
    derived: dict = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def num_tokens(self) -> int:
        """T."""
        return self.segments[-1].end if self.segments else 0

    @cached_property
    def longest(self) -> int:
        """Tokens from the root to the end of the deepest segment."""
        return max((segment.depth for segment in self.segments), default=0)

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """For each segment the first token that is neither its own nor below it."""
        ends = [segment.end for segment in self.segments]
        for index in range(len(ends) - 1, -1, -1):
            parent = self.segments[index].parent
            if parent != ROOT:
                ends[parent] = max(ends[parent], ends[index])
        return tuple(ends)

    def path(self, index: int) -> list[int]:
        """Segments from the root to this one, itself included."""
        found = []
        while index != ROOT:
            found.append(index)
            index = self.segments[index].parent
        return found[::-1]

    def keys(self, index: int) -> np.ndarray:
        """Tokens that the segment may attend to: its ancestors' and its own, root first."""
        return np.concatenate(
            [np.arange(self.segments[i].start, self.segments[i].end) for i in self.path(index)]
        )

    @cached_property
    def positions(self) -> np.ndarray:
        """Position of each token in its own sequence, (T,)."""
        return _fill(self, lambda s: np.arange(s.before, s.depth))

    @cached_property
    def predictors(self) -> np.ndarray:
        """The token whose hidden state predicts each token, (T,); -1 for a root's first token."""

        def of(segment: Segment) -> np.ndarray:
            found = np.arange(segment.start - 1, segment.end - 1)
            found[0] = -1 if segment.parent == ROOT else self.segments[segment.parent].end - 1
            return found

        return _fill(self, of)

    @cached_property
    def reach(self) -> np.ndarray:
        """First token after each token's segment and all below it, (T,).

        Query q sees key k if k <= q < reach[k]: everything below a segment follows it.
        """
        ends = dict(zip(self.segments, self.ends, strict=True))
        return _fill(self, lambda s: np.full(s.length, ends[s]))


def _fill(tree: SegmentTree, of) -> np.ndarray:  # noqa: ANN001
    values = [of(segment) for segment in tree.segments]
    return np.concatenate(values) if values else np.zeros(0, np.int64)


class TreeBuilder:
    """Collects segments in the order of a walk down the tree."""

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._ids: list[np.ndarray] = []
        self._length = 0

    def add(self, ids: np.ndarray, parent: int) -> int:
        """Put a segment at the end of the packed row; its number."""
        before = 0 if parent == ROOT else self._segments[parent].depth
        self._segments.append(Segment(self._length, len(ids), parent, before))
        self._ids.append(ids)
        self._length += len(ids)
        return len(self._segments) - 1

    def __getitem__(self, index: int) -> Segment:
        return self._segments[index]

    def finish(self) -> tuple[SegmentTree, np.ndarray]:
        """The tree and the token ids of the packed row, (T,)."""
        return SegmentTree(tuple(self._segments)), np.concatenate(self._ids).astype(np.int64)


def common_blocks(one: np.ndarray, other: np.ndarray, block: int) -> int:
    """Tokens of the whole blocks with which both begin."""
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    agreed = int(different[0]) if len(different) else length
    return agreed // block * block


def same_block(prompts: Sequence[np.ndarray], start: int, block: int) -> bool:
    """Whether all have a whole block at `start`, and the same one."""
    first = prompts[0][start : start + block]
    return len(first) == block and all(
        np.array_equal(first, prompt[start : start + block]) for prompt in prompts[1:]
    )
