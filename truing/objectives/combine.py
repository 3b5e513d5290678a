"""Several references become one: after pooling, never with a gradient.

Shapes: R references, S = 2P sides. The base is the reference at index 0 (mostly the policy's own
start), the others are extra.
"""

from abc import abstractmethod
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from truing.core.knobs import Fraction, Interval, Positive
from truing.core.needs import Needs
from truing.core.sides import Sides
from truing.errors import KnobError, NeedsError
from truing.objectives.part import Part, part

Index = Annotated[int, Interval(low=0.0)]


@part
class Clip(Part):
    """Holds extra references within a share of the base (MRPO's CTRO).

    Args:
        eta: the largest relative distance; log-probs are negative, so the range is
            [base * (1 + e), base * (1 - e)].
        is_adaptive: e = eta * a / (a + a of the other side), where a = |mean over references| of
            the side; False: e = eta.
    """

    eta: Positive
    is_adaptive: bool = True

    def __call__(self, references: Float[Tensor, "R S"], sides: Sides) -> Float[Tensor, "R S"]:
        """(R, S) nats, the base as it was."""
        base, share = references[0], torch.full_like(references[0], self.eta)
        if self.is_adaptive:
            size = references.mean(0).abs()
            share = share * size / (size + sides.partners(size)).clamp(min=1e-12)
        ends = base * (1 + share), base * (1 - share)
        low, high = torch.minimum(*ends), torch.maximum(*ends)
        return torch.cat([base[None], references[1:].clamp(low, high)])


@part
class Combine(Part):
    """Maps the likelihoods under R references to one."""

    @abstractmethod
    def __call__(self, references: Float[Tensor, "R S"], sides: Sides) -> Float[Tensor, "S"]:
        """(R, S) nats to (S,) nats."""


@part
class One(Combine):
    """The reference at this index alone, clipped around the base where asked."""

    index: Index = 0
    clip: Clip | None = None

    def own_needs(self) -> Needs:
        """As many references as the index asks for."""
        return Needs(reference="sums", references=self.index + 1)

    def __call__(self, references: Float[Tensor, "R S"], sides: Sides) -> Float[Tensor, "S"]:
        """Row `index`."""
        _require(references, self.index + 1)
        return (references if self.clip is None else self.clip(references, sides))[self.index]


@part
class Harmonic(Combine):
    """The weighted harmonic mean of the references' sequence probabilities (MRPO).

    Args:
        weights: of the extra references, the base has the rest; "adaptive": each extra one's gap
            |L_chosen - L_rejected| over the sum of all gaps + 1e-6, for each pair.
        clip: of the extra references, before the mean; weights use them as they are.
        is_crossed: weights of base and extra exchanged, as the released code has it.
    """

    weights: tuple[Fraction, ...] | Literal["adaptive"] = "adaptive"
    clip: Clip | None = None
    is_crossed: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights == "adaptive":
            return
        if self.is_crossed and len(self.weights) != 1:
            raise KnobError(
                "exchanges two weights, and there are more",
                where="Harmonic(is_crossed=)",
                fix="give one extra reference, or leave it out",
            )
        if sum(self.weights) > 1.0:
            raise KnobError(
                f"sum to more than 1 ({sum(self.weights):g}), nothing is left for the base",
                where="Harmonic(weights=)",
                fix="give the weights of the extra references only",
            )

    def own_needs(self) -> Needs:
        """The base and each extra reference."""
        extra = 1 if self.weights == "adaptive" else len(self.weights)
        return Needs(reference="sums", references=1 + extra)

    def __call__(self, references: Float[Tensor, "R S"], sides: Sides) -> Float[Tensor, "S"]:
        """-logsumexp_k(log weight_k - L_k)."""
        _require(references, self.own_needs().references)
        extra = self._extra_weights(references, sides)
        weights = torch.cat([1 - extra.sum(0, keepdim=True), extra])
        if self.is_crossed:
            _require(references, 2, exactly=True)
            weights = weights.flip(0)
        clipped = references if self.clip is None else self.clip(references, sides)
        return -torch.logsumexp(weights.log() - clipped, dim=0)

    def _extra_weights(
        self, references: Float[Tensor, "R S"], sides: Sides
    ) -> Float[Tensor, "R-1 S"]:
        if self.weights == "adaptive":
            gaps = (references - sides.partners(references)).abs()
            return gaps[1:] / (gaps.sum(0) + 1e-6)
        given = references.new_tensor(self.weights)
        _require(references, 1 + len(self.weights), exactly=True)
        return given[:, None].expand(-1, references.shape[1])


def _require(references: Tensor, count: int, *, exactly: bool = False) -> None:
    there = references.shape[0]
    if there < count or (exactly and there != count):
        raise NeedsError(
            f"needs {'exactly ' if exactly else ''}{count} references, there are {there}",
            where="references",
            fix="list them in the configuration: reference: several([...])",
        )
