"""Attention segment by segment through torch's own function: the general path, on every device.

Also the only one for scores that are capped and for attention sinks, which torch's function has
not. H heads, R tokens of a segment, S keys it sees, T tokens of the packed row.
"""

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from truing.engine.tree import SegmentTree


def attend_segments(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    tree: SegmentTree,
    scale: float,
    *,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Every segment against its ancestors' keys and its own; (1, H, T, D) each.

    Args:
        query: of all segments.
        key: with as many heads, or a divisor of them.
        value: the same.
        tree: the segments.
        scale: factor of the scores.
        window: a key is seen from fewer than so many tokens on.
        softcap: scores are softcap * tanh(scores / softcap).
        sinks: (H,) scores that take weight and give nothing.
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key = key.repeat_interleave(groups, dim=1)
        value = value.repeat_interleave(groups, dim=1)
    # Split, not slices: the backward of a slice writes a gradient of full size, of zeros.
    sizes = [segment.length for segment in tree.segments]
    keys, values = key.split(sizes, dim=2), value.split(sizes, dim=2)
    outputs = []
    for index, part in enumerate(query.split(sizes, dim=2)):
        path = tree.path(index)
        seen = keys[index] if len(path) == 1 else torch.cat([keys[i] for i in path], dim=2)
        given = values[index] if len(path) == 1 else torch.cat([values[i] for i in path], dim=2)
        mask = segment_mask(tree, index, window, query.device)
        if softcap is None and sinks is None:
            outputs.append(
                scaled_dot_product_attention(part, seen, given, attn_mask=mask, scale=scale)
            )
        else:
            outputs.append(
                attend_masked(part, seen, given, mask, scale, softcap=softcap, sinks=sinks)
            )
    return torch.cat(outputs, dim=2)


def segment_mask(
    tree: SegmentTree, index: int, window: int | None, device: torch.device
) -> Bool[Tensor, "R S"]:
    """Which keys (ancestors first) each query of a segment sees; built once a batch and shape."""
    segment = tree.segments[index]
    name = ("mask", segment.before, segment.length, window, device)
    if name not in tree.derived:
        # is_causal with fewer queries than keys would align top-left: queries stand at the end.
        queries = torch.arange(segment.before, segment.depth, device=device)[:, None]
        keys = torch.arange(segment.depth, device=device)[None]
        mask = keys <= queries
        tree.derived[name] = mask if window is None else mask & (keys > queries - window)
    return tree.derived[name]


def attend_masked(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    scale: float,
    *,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """Attention written out, in float32 for half precision; as many key heads as query heads."""
    scores = (query @ key.transpose(-1, -2)) * scale
    if scores.dtype in (torch.bfloat16, torch.float16):
        scores = scores.float()
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    # Not -inf: a padded query that sees nothing must stay finite.
    lowest = torch.finfo(scores.dtype).min
    scores = (
        scores.masked_fill(~mask, lowest) if mask.dtype == torch.bool else scores + mask.to(scores)
    )
    if sinks is not None:
        column = sinks.to(scores).reshape(1, -1, 1, 1).expand(*scores.shape[:-1], 1)
        scores = torch.cat([scores, column], dim=-1)
    weights = scores.softmax(-1)
    if sinks is not None:
        weights = weights[..., :-1]
    return weights.to(value.dtype) @ value
