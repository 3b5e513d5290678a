"""The small steps between the matrix products, in fewer passes over memory.

Norms, rotations, gated units and adapters of transformers and peft are written as many small
operations; on a CPU each is a pass over memory, and together they take a quarter of a step. Each
function here computes the same with its gradient by hand. What a model's own module computes is
compared first, on the spot; what differs is left alone. They stand in for the model's functions
while a packed forward runs, and at no other time. T tokens, D width.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

# Rows of a gated unit that stay in the cache from one operation to the next.
ROWS = 256


class RootMeanSquare(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) * weight."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """`states` (..., D), `weight` (D,)."""
        flat = states.reshape(-1, states.shape[-1])
        length = torch.linalg.vector_norm(flat, dim=-1, keepdim=True)
        inverse = torch.rsqrt(length * length / flat.shape[1] + epsilon)
        ctx.save_for_backward(flat, weight, inverse)
        return (flat * inverse).mul_(weight).view(states.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Both gradients read one product of the gradient and the input."""
        flat, weight, inverse = ctx.saved_tensors
        shape = grad_outputs[0].shape
        grad = grad_outputs[0].reshape(flat.shape)
        product = grad * flat
        to_weight = torch.mv(product.t(), inverse[:, 0])
        shift = torch.mv(product, weight)[:, None] * inverse**3 / flat.shape[1]
        to_states = torch.mul(grad, weight, out=product).mul_(inverse)
        to_states.addcmul_(flat, shift, value=-1)
        return to_states.view(shape), to_weight, None


class GatedUnit(torch.autograd.Function):
    """silu(gate) * up, some rows at a time; keeps its inputs and nothing else."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        """Both (..., D)."""
        ctx.save_for_backward(gate, up)
        out = torch.empty_like(gate)
        for gates, ups, outs in _in_rows(gate, up, out):
            torch.mul(silu(gates), ups, out=outs)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The slope of silu is torch's own."""
        gate, up = ctx.saved_tensors
        grad = grad_outputs[0].contiguous()
        to_gate, to_up = torch.empty_like(gate), torch.empty_like(up)
        for gates, ups, grads, gate_slopes, up_slopes in _in_rows(gate, up, grad, to_gate, to_up):
            torch.mul(silu(gates), grads, out=up_slopes)
            torch.ops.aten.silu_backward.grad_input(grads * ups, gates, grad_input=gate_slopes)
        return to_gate, to_up


def _in_rows(*tensors: Tensor) -> Any:
    flat = [tensor.view(-1, tensor.shape[-1]) for tensor in tensors]
    return zip(*(tensor.split(ROWS) for tensor in flat), strict=True)


class Rotation(torch.autograd.Function):
    """x * cos + (-x2, x1) * sin, where x = (x1, x2) is cut in the middle of its last dimension."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """`states` (B, H, T, D); cosine and sine broadcast to it."""
        ctx.save_for_backward(cosine, sine)
        half = states.shape[-1] // 2
        out = states * cosine
        out[..., :half].addcmul_(states[..., half:], sine[..., :half], value=-1)
        out[..., half:].addcmul_(states[..., :half], sine[..., half:])
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        """The rotation back."""
        (grad,) = grad_outputs
        cosine, sine = ctx.saved_tensors
        half = grad.shape[-1] // 2
        out = grad * cosine
        out[..., :half].addcmul_(grad[..., half:], sine[..., half:])
        out[..., half:].addcmul_(grad[..., :half], sine[..., :half], value=-1)
        return out, None, None


class AdaptedLinear(torch.autograd.Function):
    """x W' + b + scale * (x A') B' with W and b frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scale: float,
    ) -> Tensor:
        """`states` (..., D), `weight` (E, D), `down` = A (r, D), `up` = B (E, r)."""
        flat = states.reshape(-1, states.shape[-1])
        inner = flat @ down.t()
        out = flat @ weight.t() if bias is None else torch.addmm(bias, flat, weight.t())
        out.addmm_(inner, up.t(), alpha=scale)
        ctx.save_for_backward(flat, inner, weight, down, up)
        ctx.scale = scale
        return out.view(*states.shape[:-1], -1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        """No gradient by the frozen weight."""
        flat, inner, weight, down, up = ctx.saved_tensors
        shape = grad_outputs[0].shape
        grad = grad_outputs[0].reshape(-1, shape[-1])
        inner_grad = (grad @ up).mul_(ctx.scale)
        to_states = None
        if ctx.needs_input_grad[0]:
            to_states = (grad @ weight).addmm_(inner_grad, down).view(*shape[:-1], -1)
        to_up = (grad.t() @ inner).mul_(ctx.scale)
        return to_states, None, None, inner_grad.t() @ flat, to_up, None
