"""Sums, means, ranks and soft-maxima within ragged runs of a flat tensor.

Shapes: M values, C segments. `segment` says for each value which segment it belongs to; the values
of a segment stand side by side and segments ascend. An empty segment sums to 0.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def sums(
    values: Float[Tensor, "*R M"], segment: Int[Tensor, "M"], count: int
) -> Float[Tensor, "*R C"]:
    """Sum of each segment; differentiable."""
    zeros = values.new_zeros(*values.shape[:-1], count)
    return zeros.index_add(-1, segment, values)


def means(values: Float[Tensor, "M"], segment: Int[Tensor, "M"], count: int) -> Float[Tensor, "C"]:
    """Mean of each segment, 0 for an empty one."""
    lengths = torch.bincount(segment, minlength=count).clamp(min=1)
    return sums(values, segment, count) / lengths


def starts(lengths: Int[Tensor, "C"]) -> Int[Tensor, "C"]:
    """Where each segment begins."""
    return lengths.cumsum(0) - lengths


def positions(segment: Int[Tensor, "M"], count: int) -> Int[Tensor, "M"]:
    """0, 1, 2 ... within each segment."""
    lengths = torch.bincount(segment, minlength=count)
    return torch.arange(segment.shape[0], device=segment.device) - starts(lengths)[segment]


def ranks(keys: Tensor, segment: Int[Tensor, "M"], count: int) -> Int[Tensor, "M"]:
    """How many keys of the same segment are smaller; equal keys rank in their order."""
    by_key = torch.argsort(keys, stable=True)
    order = by_key[torch.argsort(segment[by_key], stable=True)]
    ranked = torch.empty_like(segment)
    ranked[order] = positions(segment[order], count)
    return ranked


def spread(
    starts_at: Int[Tensor, "C"], lengths: Int[Tensor, "C"]
) -> tuple[Int[Tensor, "M"], Int[Tensor, "M"]]:
    """Indices of runs laid end to end, and the run of each index.

    Runs may overlap or repeat: this is how one response is read in several places.
    """
    run = torch.repeat_interleave(torch.arange(lengths.shape[0], device=lengths.device), lengths)
    return starts_at[run] + positions(run, lengths.shape[0]), run


def log_softmax(
    values: Float[Tensor, "M"], segment: Int[Tensor, "M"], count: int
) -> Float[Tensor, "M"]:
    """Log of the share of each value's exponential in its segment; never overflows."""
    top = values.new_full((count,), -torch.inf)
    top = top.scatter_reduce(0, segment, values.detach(), reduce="amax")
    shifted = values - top[segment]
    return shifted - sums(shifted.exp(), segment, count).log()[segment]
