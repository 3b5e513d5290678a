"""Responses as they stand somewhere: in a pair (a side), or alone.

One response may stand in several pairs, each time against another partner, so everything that
looks at lengths or draws tokens works on sides, never on responses.

Shapes: M tokens of the view, N responses, P pairs, S sides, T tokens of all sides laid end to end.
In pairs S = 2P: first the chosen side of every pair, then the rejected side of every pair.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from truing.core import segments
from truing.errors import NeedsError

if TYPE_CHECKING:
    from truing.core.view import View


@dataclass(frozen=True, eq=False)
class Sides:
    """Where each side's tokens lie in the view, and against which length it stands.

    Args:
        view: the view the sides are read from.
        response: the response that stands here; (S,).
        is_paired: S = 2P sides of pairs; False: responses that stand alone.
    """

    view: "View"
    response: Int[Tensor, "S"]
    is_paired: bool

    @property
    def count(self) -> int:
        """S."""
        return self.response.shape[0]

    @cached_property
    def lengths(self) -> Int[Tensor, "S"]:
        """Tokens of each side, its end token included."""
        return self.view.lengths[self.response]

    @cached_property
    def partner_lengths(self) -> Int[Tensor, "S"]:
        """Tokens of the side each one stands against.

        Raises:
            NeedsError: the responses stand alone.
        """
        return self.partners(self.lengths)

    def partners(self, values: Shaped[Tensor, "*R S"]) -> Shaped[Tensor, "*R S"]:
        """For each side, the value of the side it stands against."""
        self._refuse_alone()
        return values.roll(self.count // 2, dims=-1)

    def _refuse_alone(self) -> None:
        if not self.is_paired:
            raise NeedsError(
                "compares two sides, but these responses stand alone",
                where="objective",
                fix="use it in a pairwise objective",
            )

    @cached_property
    def _spread(self) -> tuple[Int[Tensor, "T"], Int[Tensor, "T"]]:
        starts = segments.starts(self.view.lengths)
        return segments.spread(starts[self.response], self.lengths)

    @property
    def token(self) -> Int[Tensor, "T"]:
        """Which token of the view each token of a side is."""
        return self._spread[0]

    @property
    def side(self) -> Int[Tensor, "T"]:
        """Which side each token belongs to, ascending."""
        return self._spread[1]

    @cached_property
    def position(self) -> Int[Tensor, "T"]:
        """0 for the first token of each side, and so on."""
        return segments.positions(self.side, self.count)

    @property
    def is_last(self) -> Bool[Tensor, "T"]:
        """The last token of each side: the end token, unless the response was cut."""
        return self.position == self.lengths[self.side] - 1

    def totals(self, tokens: Float[Tensor, "*R M"]) -> Float[Tensor, "*R S"]:
        """Sum over all tokens of each side."""
        sums = segments.sums(tokens, self.view.response, self.view.num_responses)
        return sums[..., self.response]

    def weighted(
        self, tokens: Float[Tensor, "*R M"], weight: Float[Tensor, "T"]
    ) -> Float[Tensor, "*R S"]:
        """Sum over the tokens of each side, each token times its weight."""
        return segments.sums(tokens[..., self.token] * weight, self.side, self.count)

    def halves(
        self, values: Shaped[Tensor, "S"]
    ) -> tuple[Shaped[Tensor, "P"], Shaped[Tensor, "P"]]:
        """Values of the chosen sides and of the rejected sides."""
        middle = self.count // 2
        return values[:middle], values[middle:]

    @cached_property
    def keys(self) -> tuple[Int[Tensor, "S"], Int[Tensor, "S"], Int[Tensor, "S"]]:
        """Row id, number of the pair within its row, and 0 or 1 for chosen or rejected.

        Raises:
            NeedsError: the view has no row ids.
        """
        rows = self.view.need("row_ids")[self.view.group[self.response]]
        if not self.is_paired:
            alone = torch.zeros_like(rows)
            return rows, alone, alone
        group = self.view.group[self.view.pairs[:, 0]]
        within = segments.ranks(group, group, self.view.num_groups)
        halves = torch.arange(self.count, device=rows.device) // max(self.count // 2, 1)
        return rows, within.repeat(2), halves
