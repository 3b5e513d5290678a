"""Attention of a packed row whose segments form a tree, behind transformers' attention interface.

A model that was set to this implementation behaves as with torch's own attention (`sdpa`) in every
call without a tree: generation, padded batches, other trainers. H heads, T tokens of the packed
row, D head size.
"""

from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from truing.engine import flash, varlen
from truing.engine.dense import attend_masked, attend_segments
from truing.engine.tree import SegmentTree
from truing.errors import ModelError

NAME = "truing"
TREE = "segment_tree"  # the keyword that brings the tree through the model to this function

# The windows that layers were called with, while somebody collects them.
WINDOWS: ContextVar[set[int | None] | None] = ContextVar("windows", default=None)

Heads = Float[Tensor, "1 H T D"]


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    segment_tree: SegmentTree | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention function; with a tree the mask is the tree's.

    Args:
        module: the attention layer.
        query: (B, H, T, D); B is 1 with a tree.
        key: (B, H', T, D), H' a divisor of H.
        value: (B, H', T, D').
        attention_mask: transformers' mask; with a tree the one element that stands for the tree's.
        scaling: factor of the scores; None is D**-0.5.
        dropout: must be 0 with a tree.
        sliding_window: a key is seen from fewer than so many tokens on; None: from everywhere.
        softcap: scores are softcap * tanh(scores / softcap).
        s_aux: (H,) scores of attention sinks.
        segment_tree: the segments of a packed row.
        kwargs: what else transformers hands to an attention function.

    Returns:
        (B, T, H, D'), contiguous, and None for the weights.

    Raises:
        ModelError: dropout in a packed row, or a mask that the layer has made itself.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if segment_tree is None:
        masked = (query, key, value, attention_mask)
        if softcap is None and s_aux is None:
            return sdpa_attention_forward(module, *masked, dropout, scaling, **kwargs)
        return _with_mask(*masked, scale, softcap, s_aux)
    assert query.shape[0] == 1 and query.shape[2] == segment_tree.num_tokens
    _refuse_own(module, attention_mask, dropout)
    windows = WINDOWS.get()
    if windows is not None:
        windows.add(sliding_window)
    query, key, value = _as_autocast(query, key, value)
    out = _in_tree(query, key, value, segment_tree, scale, sliding_window, softcap, s_aux)
    return out.transpose(1, 2).contiguous(), None


def _refuse_own(module: torch.nn.Module, mask: Tensor | None, dropout: float) -> None:
    """Noise, or a mask other than the tree's."""
    if dropout:
        raise ModelError(
            f"has attention dropout {dropout}",
            where=type(module).__name__,
            fix="set it to 0: a packed row gives all responses of a prompt the same noise",
        )
    if mask is not None and mask.numel() > 1:
        raise ModelError(
            "makes a mask of its own",
            where=type(module).__name__,
            fix="use engine=auto or engine=padded",
        )


def _in_tree(
    query: Heads,
    key: Heads,
    value: Heads,
    tree: SegmentTree,
    scale: float,
    sliding_window: int | None,
    softcap: float | None,
    sinks: Tensor | None,
) -> Heads:
    """The fastest kernel that this device has for what is asked."""
    is_narrow = sliding_window is not None and sliding_window < tree.longest
    window = sliding_window if is_narrow else None
    if softcap is not None or sinks is not None:
        return attend_segments(
            query, key, value, tree, scale, window=window, softcap=softcap, sinks=sinks
        )
    if varlen.can_attend(query, value):
        return varlen.attend(query, key, value, tree, scale, window=window)
    if window is None and flash.can_attend(query, value):
        return flash.attend(query, key, value, tree, scale)
    return attend_segments(query, key, value, tree, scale, window=window)


def _with_mask(
    query: Heads,
    key: Heads,
    value: Heads,
    mask: Tensor | None,
    scale: float,
    softcap: float | None,
    sinks: Tensor | None,
) -> tuple[Tensor, None]:
    """What torch's own attention has not: a cap on the scores, sinks."""
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    mask = _causal(query, key) if mask is None else mask
    out = attend_masked(query, key, value, mask, scale, softcap=softcap, sinks=sinks)
    return out.transpose(1, 2).contiguous(), None


def _causal(query: Tensor, key: Tensor) -> Tensor:
    """Where transformers leaves the mask out: a square causal one, or one query that sees all."""
    square = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device)
    return square.tril(key.shape[2] - query.shape[2])[None, None]


def _as_autocast(*tensors: Tensor) -> list[Tensor]:
    """In the dtype of an autocast block, as torch's own attention does."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return list(tensors)
    return [tensor.to(torch.get_autocast_dtype(device)) for tensor in tensors]


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
