"""Weights of tokens: which tokens of a side count, and how much.

Shapes: T tokens of S sides laid end to end, M tokens of the view. Weights carry no gradient.
"""

from abc import abstractmethod
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from truing.core import segments
from truing.core.hashing import hashed
from truing.core.knobs import Fraction
from truing.core.needs import Needs
from truing.core.sides import Sides
from truing.objectives.part import Part, part


@part
class TokenWeight(Part):
    """Gives each token of each side its weight."""

    @abstractmethod
    def __call__(self, sides: Sides) -> Float[Tensor, "T"]:
        """(T,), not negative."""


@part
class Whole(TokenWeight):
    """Every token counts once."""

    def __call__(self, sides: Sides) -> Float[Tensor, "T"]:
        """Ones."""
        return torch.ones_like(sides.view.policy[sides.token])


@part
class Decay(TokenWeight):
    """Early tokens count most: rate^t, t = 1 for the first token."""

    rate: Fraction

    def __call__(self, sides: Sides) -> Float[Tensor, "T"]:
        """rate^(position + 1)."""
        return self.rate ** (sides.position + 1).to(sides.view.policy.dtype)


@part
class Tail(TokenWeight):
    """Tokens past the length of the shorter side count `share` only."""

    share: Fraction

    def __call__(self, sides: Sides) -> Float[Tensor, "T"]:
        """1 up to m = min(|y_chosen|, |y_rejected|), then share."""
        shorter = torch.minimum(sides.lengths, sides.partner_lengths)
        is_tail = sides.position >= shorter[sides.side]
        whole = torch.ones_like(is_tail, dtype=sides.view.policy.dtype)
        return torch.where(is_tail, self.share * whole, whole)


@part
class Subset(TokenWeight):
    """As many tokens of the longer side as the shorter one has, drawn without replacement.

    A token's key is a hash of (seed, epoch, row id, pair within the row, side, token index,
    stream): the draw is the same on any packing, batch size and rank, another in each epoch.
    `view.positions` (`view.reference_positions` for the second stream) are taken instead where
    they are given.

    Args:
        keep_end: the side's last token is never dropped.
        stream: two streams draw independently of each other.
    """

    keep_end: bool = False
    stream: Literal["policy", "reference"] = "policy"

    def __call__(self, sides: Sides) -> Float[Tensor, "T"]:
        """1 for drawn tokens, 0 for the others."""
        view = sides.view
        given = view.positions if self.stream == "policy" else view.reference_positions
        if given is None:
            drawn = _smallest(self._keys(sides), sides)
        else:
            drawn = given[sides.side, sides.position]
        return drawn.to(view.policy.dtype)

    def _keys(self, sides: Sides) -> Int[Tensor, "T"]:
        context = sides.view.context
        seed, epoch = (context.seed, context.epoch) if context else (0, 0)
        words = (values[sides.side] for values in sides.keys)
        keys = hashed(seed, epoch, *words, sides.position, int(self.stream == "reference"))
        if self.keep_end:
            keys = torch.where(sides.is_last, torch.iinfo(torch.int64).min, keys)
        return keys


@part
class Largest(TokenWeight):
    """As many tokens as the shorter side has: those with the largest log-ratio now (detached).

    The signed log-ratio to the first reference; of equal ones the earlier token is taken.
    """

    def own_needs(self) -> Needs:
        """Per-token references."""
        return Needs(reference="tokens", references=1)

    def __call__(self, sides: Sides) -> Float[Tensor, "T"]:
        """1 for taken tokens, 0 for the others."""
        view = sides.view
        ratios = view.policy.detach() - view.need("references")[0]
        return _smallest(-ratios[sides.token], sides).to(ratios.dtype)


def _smallest(keys: Tensor, sides: Sides) -> Bool[Tensor, "T"]:
    """The tokens with the smallest keys of each side, as many as the shorter side has."""
    wanted = torch.minimum(sides.lengths, sides.partner_lengths)
    return segments.ranks(keys, sides.side, sides.count) < wanted[sides.side]
