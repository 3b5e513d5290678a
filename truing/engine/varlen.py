"""Attention of a tree of segments on a GPU: one call of the variable-length kernel a layer.

Each segment is one block of queries against its ancestors' keys and its own, gathered once a
layer. The kernel aligns a causal mask bottom-right, which is what a segment needs: its queries
are the last of its keys. Written from torch's documentation; the probe proves it on the device.
H heads, T tokens, S gathered keys, D head size.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from truing.engine.tree import SegmentTree

# Before 2.12 the kernel's wrapper has no window, no scale and no grouped heads.
OLDEST_TORCH = (2, 12)


@dataclass(frozen=True, eq=False)
class Blocks:
    """The kernel's view of a tree.

    Args:
        keys: (S,) where each gathered key stands in the packed row.
        query_ends: (segments + 1,) int32, running sums of the segments' lengths.
        key_ends: (segments + 1,) int32, running sums of the keys that each sees.
        most_queries: of the longest segment.
        most_keys: of the segment that sees the most.
    """

    keys: Tensor
    query_ends: Tensor
    key_ends: Tensor
    most_queries: int
    most_keys: int


def blocks(tree: SegmentTree, device: torch.device) -> Blocks:
    """The tree as blocks of the kernel; built once a batch."""
    name = ("blocks", device)
    if name not in tree.derived:
        lengths = [segment.length for segment in tree.segments]
        depths = [segment.depth for segment in tree.segments]
        tree.derived[name] = Blocks(
            torch.from_numpy(np.concatenate([tree.keys(i) for i in range(len(lengths))])).to(
                device
            ),
            _ends(lengths).to(device),
            _ends(depths).to(device),
            max(lengths),
            max(depths),
        )
    return tree.derived[name]


def _ends(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)


def can_attend(query: Tensor, value: Tensor) -> bool:
    """Whether the kernel takes these: half precision, a CUDA device since Ampere, recent torch."""
    return (
        query.device.type == "cuda"
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
        and query.shape[-1] % 8 == 0
        and query.dtype in (torch.float16, torch.bfloat16)
        and query.shape[-1] == value.shape[-1]
        and query.shape[-1] <= 256
        and tuple(map(int, torch.__version__.split(".")[:2])) >= OLDEST_TORCH
    )


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    tree: SegmentTree,
    scale: float,
    *,
    window: int | None,
) -> Tensor:
    """Causal attention over the tree, (1, H, T, D); keys may have a divisor of H heads."""
    from torch.nn.attention.varlen import varlen_attn

    shape = blocks(tree, query.device)
    # torch counts the keys to the left of the query, transformers the query as well.
    left = -1 if window is None else window - 1
    options: dict[str, Any] = {
        "scale": scale,
        "window_size": (left, 0),
        "enable_gqa": query.shape[1] != key.shape[1],
    }
    out = varlen_attn(
        query[0].transpose(0, 1).contiguous(),
        key[0].transpose(0, 1)[shape.keys],
        value[0].transpose(0, 1)[shape.keys],
        shape.query_ends,
        shape.key_ends,
        shape.most_queries,
        shape.most_keys,
        **options,
    )
    assert isinstance(out, Tensor)
    return out.transpose(0, 1)[None]
