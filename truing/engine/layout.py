"""From rows to one packed row: which tokens stand where, and which log-probs are asked of them.

M response tokens, L prompt tokens, U distinct predicted tokens, T tokens of the packed row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from truing.engine.logps import TokenRow
from truing.engine.tree import ROOT, SegmentTree, TreeBuilder, same_block

Span = tuple[int, int]  # first token in the packed row, and the token after the last


@dataclass(frozen=True, eq=False)
class PackedRows:
    """Rows laid out as one packed row.

    Args:
        tree: its segments.
        ids: its token ids, (T,).
        responses: where each response stands, in the rows' order; two equal responses to one
            prompt stand at the same place.
        prompts: the pieces of each row's prompt, in the rows' order.
    """

    tree: SegmentTree
    ids: np.ndarray
    responses: tuple[Span, ...]
    prompts: tuple[tuple[Span, ...], ...]

    @cached_property
    def response_tokens(self) -> np.ndarray:
        """Place of every response token, (M,); a place stands twice for a response in two rows."""
        return np.concatenate([np.arange(start, end) for start, end in self.responses])

    @cached_property
    def prompt_tokens(self) -> np.ndarray:
        """Place of every prompt token but each prompt's first, (L,)."""
        pieces = [
            np.concatenate([np.arange(start, end) for start, end in spans])[1:]
            for spans in self.prompts
        ]
        return np.concatenate(pieces)

    @cached_property
    def prompt_rows(self) -> np.ndarray:
        """Which row each of these prompt tokens belongs to, (L,)."""
        lengths = [sum(end - start for start, end in spans) - 1 for spans in self.prompts]
        return np.repeat(np.arange(len(lengths)), lengths)


def share_prefixes(rows: Sequence[TokenRow], block: int) -> PackedRows:
    """Every prompt once, whole blocks of tokens with which several prompts begin once as well.

    A response of several rows with one prompt stands once. The order depends on the order of the
    rows and on what they share, not on the values of their tokens.
    """
    prompts: dict[bytes, list[int]] = {}
    for index, row in enumerate(rows):
        prompts.setdefault(_ids(row.prompt).tobytes(), []).append(index)
    return _Layout(rows, block).lay(list(prompts.values()))


def copy_prompts(rows: Sequence[TokenRow]) -> PackedRows:
    """Every response behind its own copy of the prompt, as a segment that sees nothing else."""
    builder = TreeBuilder()
    responses: list[Span] = []
    prompts: list[tuple[Span, ...]] = []
    for row in rows:
        for number, response in enumerate(row.responses):
            segment = builder[builder.add(np.concatenate([row.prompt, response]), ROOT)]
            border = segment.start + len(row.prompt)
            responses.append((border, segment.end))
            if number == 0:
                prompts.append(((segment.start, border),))
    return PackedRows(*builder.finish(), tuple(responses), tuple(prompts))


def _ids(tokens: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(tokens, dtype=np.int64)


class _Layout:
    """A walk down the prefixes of some prompts; G groups of rows with one prompt each."""

    def __init__(self, rows: Sequence[TokenRow], block: int) -> None:
        self._rows, self._block = rows, block
        self._builder = TreeBuilder()
        self._responses: dict[tuple[int, int], Span] = {}
        self._ends: dict[int, int] = {}

    def lay(self, groups: list[list[int]]) -> PackedRows:
        """All groups, those that begin alike together."""
        # A stack of its own: chains of prompts, each one turn longer than the last, may be deep.
        todo = [(part, ROOT, 0) for part in self._parts(groups, 0)][::-1]
        while todo:
            part, parent, start = todo.pop()
            if len(part) == 1:
                self._put_group(part[0], parent, start)
                continue
            prompts = [self._prompt(group) for group in part]
            end = start + self._block
            while same_block(prompts, end, self._block):
                end += self._block
            node = self._builder.add(prompts[0][start:end], parent)
            todo += [(below, node, end) for below in self._parts(part, end)][::-1]
        return self._packed()

    def _packed(self) -> PackedRows:
        tree, ids = self._builder.finish()
        responses = tuple(
            self._responses[index, number]
            for index, row in enumerate(self._rows)
            for number in range(len(row.responses))
        )
        spans: Callable[[int], tuple[Span, ...]] = lambda index: tuple(  # noqa: E731
            (tree.segments[i].start, tree.segments[i].end) for i in tree.path(self._ends[index])
        )
        return PackedRows(tree, ids, responses, tuple(map(spans, range(len(self._rows)))))

    def _prompt(self, group: list[int]) -> np.ndarray:
        return self._rows[group[0]].prompt

    def _parts(self, groups: list[list[int]], start: int) -> list[list[list[int]]]:
        """Groups that have the same whole block at `start`, together; the others alone."""
        parts: dict[bytes | int, list[list[int]]] = {}
        for group in groups:
            block = self._prompt(group)[start : start + self._block]
            is_whole = len(block) == self._block
            parts.setdefault(_ids(block).tobytes() if is_whole else group[0], []).append(group)
        return list(parts.values())

    def _put_group(self, group: list[int], parent: int, start: int) -> None:
        """What is left of a prompt, then the distinct responses to it."""
        rest = self._prompt(group)[start:]
        end = self._builder.add(rest, parent) if len(rest) else parent
        places: dict[bytes, Span] = {}
        for index in group:
            self._ends[index] = end
            for number, response in enumerate(self._rows[index].responses):
                key = _ids(response).tobytes()
                if key not in places:
                    segment = self._builder[self._builder.add(response, end)]
                    places[key] = (segment.start, segment.end)
                self._responses[index, number] = places[key]
