"""Exponentials and logarithms that stay exact and finite for log-ratios of any size."""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

LARGEST_EXPONENT = 80.0
"""exp stays finite in float32 up to 88; beyond this a function is flat instead of infinite."""


def softplus(x: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """log(1 + exp(x)) to full precision; torch's own is x alone above 20."""
    return -logsigmoid(-x)


def exp(x: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """The exponential, flat above its largest exponent."""
    return x.clamp(max=LARGEST_EXPONENT).exp()


def expm1(x: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """exp(x) - 1, with the same bound."""
    return x.clamp(max=LARGEST_EXPONENT).expm1()
