"""Attention of a tree of segments on the CPU without masks and without copies of keys.

A run of segments, each the first child of the one before, attends to itself, causally; then what
stands below the other children of a segment attends to it and to all above it, whole. The parts
are joined by their log-sum-exp. Gradients come from the same
kernel, given the joined output and log-sum-exp. H heads, T tokens, D head size.
"""

from typing import Any

import torch
from torch import Tensor

from truing.engine.tree import SegmentTree

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def can_attend(query: Tensor, value: Tensor) -> bool:
    """Whether the kernel takes these: on the CPU, values as wide as keys."""
    return query.device.type == "cpu" and query.shape[-1] == value.shape[-1]


def attend(query: Tensor, key: Tensor, value: Tensor, tree: SegmentTree, scale: float) -> Tensor:
    """Causal attention over the tree, (1, H, T, D); keys may have a divisor of H heads."""
    return _TreeAttention.apply(query, key, value, tree, scale)  # type: ignore[return-value]


def _repeat(heads: Tensor, times: int) -> Tensor:
    return heads if times == 1 else heads.repeat_interleave(times, dim=1)


Parts = tuple[list[slice], list[tuple[slice, slice]]]


def parts_of(tree: SegmentTree) -> Parts:
    """The calls that make up the attention of a tree; found once a batch.

    Returns:
        Runs of tokens that attend to themselves, causally: a segment, its first child, that one's
        first child and so on stand without a gap and are a sequence of their own. And (keys,
        queries) of runs that attend to others, whole: all that stands below a segment's other
        children attends to the segment and to what is above it in its run.
    """
    if "parts" not in tree.derived:
        runs: list[slice] = []
        others: list[tuple[slice, slice]] = []
        segments, ends = tree.segments, tree.ends
        for index, segment in enumerate(segments):
            if index and segment.parent == index - 1:
                runs[-1] = slice(runs[-1].start, segment.end)
            else:
                runs.append(slice(segment.start, segment.end))
            first_child_end = ends[index + 1] if ends[index] > segment.end else ends[index]
            if first_child_end < ends[index]:
                keys = slice(runs[-1].start, segment.end)
                others.append((keys, slice(first_child_end, ends[index])))
        tree.derived["parts"] = runs, others
    return tree.derived["parts"]


class _TreeAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, tree: SegmentTree, scale: float
    ) -> Tensor:
        times = query.shape[1] // key.shape[1]
        keys, values = _repeat(key, times), _repeat(value, times)
        batch, heads, tokens, size = query.shape
        out = query.new_empty(batch, tokens, heads, size).transpose(1, 2)
        runs, others = parts_of(tree)
        parts = []
        for own in runs:
            out[:, :, own], part = _forward(
                query[:, :, own], keys[:, :, own], values[:, :, own], is_causal=True, scale=scale
            )
            parts.append(part)
        lse = torch.cat(parts, dim=2)
        for above, below in others:
            other, other_lse = _forward(
                query[:, :, below], keys[:, :, above], values[:, :, above], scale=scale
            )
            mine = lse[:, :, below]
            weight = torch.sigmoid(other_lse - mine).unsqueeze(-1).to(out.dtype)
            out[:, :, below].lerp_(other, weight)
            lse[:, :, below] = torch.logaddexp(mine, other_lse)
        ctx.save_for_backward(query, key, value, out, lse)
        ctx.tree, ctx.scale, ctx.times = tree, scale, times
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        (grad,) = grad_outputs
        query, key, value, out, lse = ctx.saved_tensors
        keys, values = _repeat(key, ctx.times), _repeat(value, ctx.times)
        grads = [torch.empty_like(tensor) for tensor in (query, keys, values)]

        def part(queries: slice, seen: slice, *, causal: bool) -> Any:
            return _backward(
                grad[:, :, queries],
                query[:, :, queries],
                keys[:, :, seen],
                values[:, :, seen],
                out[:, :, queries],
                lse[:, :, queries],
                0.0,
                causal,
                scale=ctx.scale,
            )

        runs, others = parts_of(ctx.tree)
        for own in runs:
            for total, found in zip(grads, part(own, own, causal=True), strict=True):
                total[:, :, own] = found
        for above, below in others:
            found = part(below, above, causal=False)
            for total, where, more in zip(grads, (below, above, above), found, strict=True):
                total[:, :, where] += more
        to_query, *to_keys = grads
        if ctx.times > 1:
            to_keys = [g.unflatten(1, (-1, ctx.times)).sum(2) for g in to_keys]
        return to_query, *to_keys, None, None
