"""From hidden states to token log-probs without the logits of the whole batch at once.

N predicted tokens, C of them in a tile, D hidden, V vocabulary. With scale a and cap k the logits
are z = k tanh(a (h W' + b) / k), the log-prob of token t is z_t - logsumexp(z), and

    d logp / d (h W' + b) = a (c_t onehot_t - c p),    c = 1 - (z / k)^2 (1 without a cap).

Kept for the backward: c exp(z - max) of all tiles where they fit (three products in all); with a
frozen head only the (N, D) derivative by the hidden states, made at once (two products); else
nothing, and the tiles are computed again (four products).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from truing.engine.statistics import STATISTICS

# Elements of a tile: larger ones leave the cache, smaller ones make thin products.
TILE_ELEMENTS = 8 * 2**20
# Bytes of kept tiles; beyond it they are computed again in the backward.
KEEP_BYTES = 2**30


@dataclass(frozen=True, eq=False)
class Head:
    """The last layer of a language model as numbers.

    Args:
        weight: (V, D).
        bias: (V,) or None.
        scale: factor of the logits.
        softcap: logits are softcap * tanh(logits / softcap); None: as they are.
    """

    weight: Float[Tensor, "V D"]
    bias: Float[Tensor, "V"] | None = None
    scale: float = 1.0
    softcap: float | None = None

    def finish(self, raw: Tensor) -> Tensor:
        """Scaled and capped logits of raw ones; half precision is left behind. May reuse `raw`."""
        logits = raw.float() if raw.dtype in (torch.bfloat16, torch.float16) else raw
        logits = logits if self.scale == 1.0 else logits * self.scale
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap


@dataclass(frozen=True, eq=False)
class HeadJob:
    """What the fused head is asked for.

    Args:
        statistics: names, in the order in which they are returned.
        reference: hidden states of the reference at the same positions, and its head.
        tile_elements: logits of one tile.
        keep_bytes: how many bytes may be kept for the backward.
    """

    statistics: tuple[str, ...] = ()
    reference: tuple[Tensor, Head] | None = None
    tile_elements: int = TILE_ELEMENTS
    keep_bytes: int = KEEP_BYTES


def head_logps(
    hidden: Float[Tensor, "N D"], head: Head, targets: Int[Tensor, "N"], job: HeadJob
) -> tuple[Tensor, ...]:
    """Log-probs of the targets, then each statistic, (N,) each; float32, float64 for float64."""
    device = hidden.device.type
    dtype = head.weight.dtype
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    # Inside the function gradients are always off: whether any will be asked for is known here.
    learns = torch.is_grad_enabled()
    with torch.autocast(device, enabled=False):
        return _FusedHead.apply(hidden, head.weight, head.bias, targets, head, job, dtype, learns)  # type: ignore[return-value]


def module_logps(
    raw: Float[Tensor, "N V"], head: Head, targets: Int[Tensor, "N"], job: HeadJob
) -> tuple[Tensor, ...]:
    """The same from all logits at once, for heads that are more than one matrix product."""
    log_probs = head.finish(raw).log_softmax(-1)
    reference = None
    if job.reference is not None:
        reference = _reference_log_probs(job.reference, slice(None))
    found = (STATISTICS[name].value(log_probs, reference) for name in job.statistics)
    return (log_probs.gather(1, targets[:, None])[:, 0], *found)


def _reference_log_probs(reference: tuple[Tensor, Head], rows: slice) -> Tensor:
    hidden, head = reference
    raw = torch.nn.functional.linear(hidden[rows].to(head.weight.dtype), head.weight, head.bias)
    return head.finish(raw).log_softmax(-1)


def _tiles(count: int, width: int, elements: int) -> Iterator[slice]:
    height = max(16, elements // width)
    for start in range(0, count, height):
        yield slice(start, min(count, start + height))


def _product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """left @ right, summed and returned in float32 for half precision."""
    half = left.dtype in (torch.bfloat16, torch.float16)
    if not half:
        return torch.mm(left, right, out=out)
    if left.device.type == "cuda":
        found = torch.mm(left, right, out_dtype=torch.float32)
    else:
        found = torch.mm(left, right).float()
    return found if out is None else out.copy_(found)


class _FusedHead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        head: Head,
        job: HeadJob,
        dtype: torch.dtype,
        learns: bool,  # noqa: FBT001
    ) -> tuple[Tensor, ...]:
        states, matrix = hidden.to(dtype), weight.to(dtype)
        run = _Run(states, matrix, bias, targets, head, job)
        needs_hidden, needs_weight, needs_bias = (learns and n for n in ctx.needs_input_grad[:3])
        learns_head = needs_weight or needs_bias
        mode = "nothing"
        if learns_head:
            fits = len(targets) * len(matrix) * dtype.itemsize <= job.keep_bytes
            mode = "tiles" if fits else "again"
        elif needs_hidden:
            mode = "slope"
        results = run.forward(mode)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(hidden, weight, bias, targets, *run.kept.tensors)
        ctx.head, ctx.job, ctx.dtype, ctx.mode = head, job, dtype, mode
        return results

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        grad, *more = grad_outputs
        hidden, weight, bias, targets, *kept = ctx.saved_tensors
        run = _Run(hidden.to(ctx.dtype), weight.to(ctx.dtype), bias, targets, ctx.head, ctx.job)
        run.kept = _Kept(*kept)
        needs = ctx.needs_input_grad[:3]
        if any(one is not None for one in more):
            found = run.backward_of_all(grad, more, needs)
        else:
            assert grad is not None
            found = run.backward(grad, needs, ctx.mode)
        like = (hidden, weight, bias)
        made = (
            None if one is None or not is_needed else one.to(tensor.dtype)
            for one, is_needed, tensor in zip(found, needs, like, strict=True)
        )
        return (*made, None, None, None, None, None)


@dataclass(eq=False)
class _Kept:
    """Row sums of the exponentials, (N, 1), slopes of the targets, and what the mode keeps."""

    inverse: Tensor
    target_slope: Tensor | None = None
    tiles: Tensor | None = None
    slope: Tensor | None = None

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """In the order of the fields; autograd holds them, and lets go of them, with the graph."""
        return self.inverse, self.target_slope, self.tiles, self.slope


class _Run:
    """One pass over the tiles; all sums in float32 (float64 for float64)."""

    kept: _Kept

    def __init__(
        self,
        states: Tensor,
        matrix: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        head: Head,
        job: HeadJob,
    ) -> None:
        self.states, self.matrix, self.targets, self.head, self.job = (
            states,
            matrix,
            targets,
            head,
            job,
        )
        self.sum_dtype = torch.float64 if states.dtype == torch.float64 else torch.float32
        self.bias = None if bias is None else bias.to(self.sum_dtype)

    @property
    def slices(self) -> Iterator[slice]:
        return _tiles(len(self.targets), len(self.matrix), self.job.tile_elements)

    def logits(self, rows: slice, out: Tensor | None = None) -> Tensor:
        """Logits of some rows, (C, V)."""
        raw = _product(self.states[rows], self.matrix.t(), out)
        if self.bias is not None:
            raw += self.bias
        if self.head.scale != 1.0:
            raw *= self.head.scale
        if self.head.softcap is not None:
            raw.div_(self.head.softcap).tanh_().mul_(self.head.softcap)
        return raw

    def exponentials(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """exp(z - max) in place of the logits, times the cap's slope; and 1 / sum exp(z - max)."""
        slope = None
        if self.head.softcap is not None:
            slope = 1 - (logits / self.head.softcap) ** 2
        logits -= logits.amax(1, keepdim=True)
        logits.exp_()
        inverse = 1 / logits.sum(1, keepdim=True)
        if slope is not None:
            logits *= slope
        return logits, inverse

    # ------------------------------------------------------------------ forward
    def forward(self, mode: str) -> tuple[Tensor, ...]:
        """Log-probs and statistics; fills `kept` with what the mode's backward reads."""
        count, width = len(self.targets), len(self.matrix)
        empty = self.states.new_empty
        results = [empty(count, dtype=self.sum_dtype) for _ in range(1 + len(self.job.statistics))]
        kept = _Kept(empty(count, 1, dtype=self.sum_dtype))
        if self.head.softcap is not None:
            kept.target_slope = empty(count, 1, dtype=self.sum_dtype)
        if mode == "tiles":
            kept.tiles = empty(count, width)
        if mode == "slope":
            kept.slope = empty(count, self.matrix.shape[1], dtype=self.sum_dtype)
        self.kept = kept
        is_full = self.states.dtype == self.sum_dtype
        for rows in self.slices:
            room = kept.tiles[rows] if kept.tiles is not None and is_full else None
            logits = self.logits(rows, room)
            self._statistics(logits, rows, results[1:])
            chosen = logits.gather(1, self.targets[rows, None])
            if kept.target_slope is not None:
                kept.target_slope[rows] = 1 - (chosen / self.head.softcap) ** 2  # type: ignore[operator]
            chosen -= logits.amax(1, keepdim=True)
            powers, kept.inverse[rows] = self.exponentials(logits)
            results[0][rows] = (chosen + kept.inverse[rows].log())[:, 0]
            if kept.tiles is not None and not is_full:
                kept.tiles[rows] = powers
            if kept.slope is not None:
                kept.slope[rows] = self._slope(powers.to(self.matrix.dtype), rows)
        return tuple(results)

    def _statistics(self, logits: Tensor, rows: slice, results: list[Tensor]) -> None:
        if not results:
            return
        log_probs = logits.log_softmax(1)
        reference = self._reference(rows)
        for name, result in zip(self.job.statistics, results, strict=True):
            result[rows] = STATISTICS[name].value(log_probs, reference)

    def _reference(self, rows: slice) -> Tensor | None:
        if self.job.reference is None:
            return None
        return _reference_log_probs(self.job.reference, rows).to(self.sum_dtype)

    def _slope(self, powers: Tensor, rows: slice) -> Tensor:
        """d logp / d hidden, (C, D)."""
        mean = _product(powers, self.matrix) * self.kept.inverse[rows]
        of_target = self.matrix[self.targets[rows]].to(self.sum_dtype)
        if self.kept.target_slope is not None:
            of_target *= self.kept.target_slope[rows]
        return (of_target - mean) * self.head.scale

    # ------------------------------------------------------------------ backward
    def backward(
        self, grad: Tensor, needs: tuple[bool, ...], mode: str
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Gradients of hidden states, weight and bias from that of the log-probs."""
        grad = grad.to(self.sum_dtype)[:, None]
        if mode == "slope":
            assert self.kept.slope is not None
            return self.kept.slope * grad, None, None
        gradients = _Gradients(self, needs)
        tiles = [slice(0, len(self.targets))] if mode == "tiles" else self.slices
        for rows in tiles:
            if self.kept.tiles is not None:
                powers = self.kept.tiles[rows]
            else:
                powers = self.exponentials(self.logits(rows))[0].to(self.matrix.dtype)
            factor = grad[rows] * self.head.scale
            if gradients.hidden is not None:
                gradients.hidden[rows] = self._slope(powers, rows) * grad[rows]
            of_target = factor
            if self.kept.target_slope is not None:
                of_target = factor * self.kept.target_slope[rows]
            gradients.add(powers, -factor * self.kept.inverse[rows], rows)
            gradients.add_targets(of_target, rows)
        return gradients.found

    def backward_of_all(
        self, grad: Tensor | None, more: list[Tensor | None], needs: tuple[bool, ...]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The same where statistics carry gradient: every tile again, all slopes written out."""
        gradients = _Gradients(self, needs)
        for rows in self.slices:
            logits = self.logits(rows)
            log_probs = logits.log_softmax(1)
            by_logits = torch.zeros_like(logits)
            if grad is not None:
                by_logits -= log_probs.exp() * grad[rows, None]
                by_logits.scatter_add_(
                    1, self.targets[rows, None], grad[rows, None].to(by_logits.dtype)
                )
            reference = self._reference(rows)
            for name, one in zip(self.job.statistics, more, strict=True):
                if one is not None:
                    value = STATISTICS[name].value(log_probs, reference)
                    slope = STATISTICS[name].slope(log_probs, value, reference)
                    by_logits += slope * one[rows, None]
            if self.head.softcap is not None:
                by_logits *= 1 - (logits / self.head.softcap) ** 2
            by_logits *= self.head.scale
            by_logits = by_logits.to(self.matrix.dtype)
            if gradients.hidden is not None:
                gradients.hidden[rows] = _product(by_logits, self.matrix)
            gradients.add(by_logits, torch.ones_like(self.kept.inverse[rows]), rows)
        return gradients.found


class _Gradients:
    """Sums over tiles, in float32 so that no tile's rounding is carried into the next."""

    def __init__(self, run: _Run, needs: tuple[bool, ...]) -> None:
        self._run = run
        matrix, dtype = run.matrix, run.sum_dtype
        self.hidden = run.states.new_empty(run.states.shape, dtype=dtype) if needs[0] else None
        # Made by the first tile's product: a fresh matrix of zeros is a pass over fresh memory.
        self.weight: Tensor | None = None
        self._needs_weight = needs[1]
        self.bias = matrix.new_zeros(len(matrix), dtype=dtype) if needs[2] else None

    @property
    def found(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        return self.hidden, self.weight, self.bias

    def add(self, tile: Tensor, factor: Tensor, rows: slice) -> None:
        """Add tile' (factor * hidden) to the weight's gradient, and the row sums to the bias's."""
        if self._needs_weight:
            scaled = (self._run.states[rows].to(factor.dtype) * factor).to(tile.dtype)
            if self.weight is None:
                self.weight = _product(tile.t(), scaled)
            elif tile.dtype == self.weight.dtype:
                self.weight.addmm_(tile.t(), scaled)
            else:
                self.weight += _product(tile.t(), scaled)
        if self.bias is not None:
            self.bias += (tile.t().to(factor.dtype) @ factor)[:, 0]

    def add_targets(self, factor: Tensor, rows: slice) -> None:
        """Add what the predicted tokens themselves give."""
        targets = self._run.targets[rows]
        if self.weight is not None:
            self.weight.index_add_(0, targets, self._run.states[rows].to(factor.dtype) * factor)
        if self.bias is not None:
            self.bias.index_add_(0, targets, factor[:, 0])
