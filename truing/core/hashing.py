"""Randomness as a pure function: an integer hash of int64 tensors, the same bits on any device.

Nothing here has a state: the same words give the same bits whatever was drawn before, so packing,
batch size, world size and a resume change no draw.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

# The constants of the SplitMix64 generator (Steele, Lea, Flood 2014), as signed 64-bit numbers.
_STEP = -7046029254386353131
_FIRST = -4658895280553007687
_SECOND = -7723592293110705685


def _shifted(word: Int[Tensor, "*S"], bits: int) -> Int[Tensor, "*S"]:
    """Shift to the right with zeros from the left; `>>` alone would copy the sign."""
    return (word >> bits) & ((1 << (64 - bits)) - 1)


def _mixed(word: Int[Tensor, "*S"]) -> Int[Tensor, "*S"]:
    word = (word ^ _shifted(word, 30)) * _FIRST
    word = (word ^ _shifted(word, 27)) * _SECOND
    return word ^ _shifted(word, 31)


def hashed(*words: Int[Tensor, "*_"] | int) -> Int[Tensor, "*S"]:
    """64 bits (int64, sign included) that depend on every word and on their order.

    Args:
        words: tensors that broadcast against each other, or numbers below 2**63 in size.
    """
    bits = torch.full((), _STEP, dtype=torch.int64)
    for word in words:
        tensor = word if isinstance(word, Tensor) else torch.tensor(word, dtype=torch.int64)
        bits = _mixed((bits.to(tensor.device) if bits.ndim == 0 else bits) + _STEP ^ tensor)
    return bits


def uniform(bits: Int[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """A float64 strictly between 0 and 1 from the upper 52 bits (a 53rd would round to 1)."""
    return (_shifted(bits, 12).to(torch.float64) + 0.5) * 2.0**-52
