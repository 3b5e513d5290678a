"""Attention of a tree of segments on the CPU without masks and without copies of keys.

Each segment attends to itself, causally; then everything below a segment (one run of tokens)
attends to it, whole. The parts are joined by their log-sum-exp. Gradients come from the same
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


def _below(tree: SegmentTree) -> list[tuple[slice, slice]]:
    """(keys of a segment, queries of everything below it) for each segment with children."""
    return [
        (slice(segment.start, segment.end), slice(segment.end, end))
        for segment, end in zip(tree.segments, tree.ends, strict=True)
        if end > segment.end
    ]


class _TreeAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, tree: SegmentTree, scale: float
    ) -> Tensor:
        times = query.shape[1] // key.shape[1]
        keys, values = _repeat(key, times), _repeat(value, times)
        batch, heads, tokens, size = query.shape
        out = query.new_empty(batch, tokens, heads, size).transpose(1, 2)
        parts = []
        for segment in tree.segments:
            own = slice(segment.start, segment.end)
            out[:, :, own], part = _forward(
                query[:, :, own], keys[:, :, own], values[:, :, own], is_causal=True, scale=scale
            )
            parts.append(part)
        lse = torch.cat(parts, dim=2)
        for above, below in _below(tree):
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

        for segment in ctx.tree.segments:
            own = slice(segment.start, segment.end)
            for total, found in zip(grads, part(own, own, causal=True), strict=True):
                total[:, :, own] = found
        for above, below in _below(ctx.tree):
            found = part(below, above, causal=False)
            for total, where, more in zip(grads, (below, above, above), found, strict=True):
                total[:, :, where] += more
        to_query, *to_keys = grads
        if ctx.times > 1:
            to_keys = [g.unflatten(1, (-1, ctx.times)).sum(2) for g in to_keys]
        return to_query, *to_keys, None, None
