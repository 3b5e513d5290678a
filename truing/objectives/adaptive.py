"""What adapts to the batch and remembers: moving averages of the gap of log-ratios.

Both averages begin at 0 and take the step in before they are used, as the authors' code does. At
the very first step of a run all gaps are 0; a deviation is then held at 1e-6 instead of 0.

Shapes: P pairs, S = 2P sides.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from truing.core.hashing import hashed, uniform
from truing.core.knobs import Fraction, NonNegative
from truing.core.needs import Needs
from truing.core.sides import Sides
from truing.core.state import State
from truing.objectives.emphasis import Emphasis
from truing.objectives.likelihoods import LogRatio
from truing.objectives.margins import COUPLED, Margin
from truing.objectives.offsets import Offset
from truing.objectives.part import Part, part
from truing.objectives.pooling import TokenMean, TokenSum

_SMALLEST_DEVIATION = 1e-6


def moved(state: State, name: str, gap: Float[Tensor, "P"], ema: float) -> State:
    """The state with the averages of the gap's mean and (unbiased) deviation moved on."""
    if not gap.shape[0] or ema == 1.0:
        return state
    deviation = float(gap.std()) if gap.shape[0] > 1 else 0.0
    values = {f"{name}/mean": float(gap.mean()), f"{name}/std": deviation}
    return state.replace(
        **{key: ema * state.get(key, 0.0) + (1 - ema) * value for key, value in values.items()}
    )


@part
class NearTypical(Part):
    """The pairs whose gap lies near the running mean, drawn at random (beta-DPO's filter).

    int((1 - filtered) * P) pairs, at least one, without replacement, with weights
    exp(-((gap - mean) / deviation)^2 / 2). `view.selection` is taken instead where it is given.

    Args:
        filtered: share of pairs that is left out.
        ema: how much of the running values is kept at each step; 1 freezes the given state.
    """

    filtered: Fraction
    ema: Fraction

    def own_needs(self) -> Needs:
        """Running mean and deviation of the gap; couples the batch."""
        return COUPLED | Needs(state=frozenset({"beta_dpo/mean", "beta_dpo/std"}))

    def next_state(self, likelihood: Float[Tensor, "S"], sides: Sides) -> State:
        """The averages with this step's gaps in them."""
        chosen, rejected = sides.halves(likelihood)
        return moved(sides.view.state, "beta_dpo", chosen - rejected, self.ema)

    def mean(self, sides: Sides) -> float:
        """The running mean of the gap, nats."""
        return sides.view.state.get("beta_dpo/mean", 0.0)

    def __call__(self, gap: Float[Tensor, "P"], sides: Sides) -> Bool[Tensor, "P"]:
        """True for the selected pairs."""
        view, count = sides.view, gap.shape[0]
        if view.selection is not None:
            return view.selection
        deviation = max(view.state.get("beta_dpo/std", 0.0), _SMALLEST_DEVIATION)
        log_weight = -0.5 * ((gap.detach().double() - self.mean(sides)) / deviation) ** 2
        seed, epoch = (view.context.seed, view.context.epoch) if view.context else (0, 0)
        rows, within, _ = (values[:count] for values in sides.keys)
        noise = -(-uniform(hashed(seed, epoch, rows, within, 2)).log()).log()
        selected = torch.zeros(count, dtype=torch.bool, device=gap.device)
        wanted = min(count, max(1, int((1 - self.filtered) * count)))
        selected[torch.topk(log_weight + noise, wanted).indices] = True
        return selected


@part
class Selected(Emphasis):
    """1 for selected pairs, 0 for the others."""

    selection: NearTypical

    def __call__(
        self, z: Float[Tensor, "P"], gap: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """The selection as numbers."""
        return self.selection(gap, sides).to(gap.dtype)


@part
class BatchStrength(Margin):
    """The difference of both sides, scaled by how good the selected pairs of the step are.

    Args:
        selection: the pairs whose mean gap counts.
        slope: how strongly.
        floor: the scale is never below it.
    """

    selection: NearTypical
    slope: NonNegative
    floor: NonNegative = 0.0

    def own_needs(self) -> Needs:
        """Couples the batch."""
        return COUPLED

    def __call__(
        self, chosen: Float[Tensor, "P"], rejected: Float[Tensor, "P"], sides: Sides
    ) -> Float[Tensor, "P"]:
        """h * max(floor, 1 + slope * (mean of selected h - running mean)); scale detached."""
        gap = chosen - rejected
        selected = self.selection(gap.detach(), sides)
        if not gap.shape[0]:
            return gap
        mean = gap.detach()[selected].mean()
        scale = 1 + self.slope * (mean - self.selection.mean(sides))
        return gap * scale.clamp(min=self.floor)


@part
class TypicalGap(Offset):
    """weight * (gap - running mean) / running deviation, the gap of log-ratios (alpha-DPO).

    Args:
        weight: offset per deviation.
        ema: how much of the running values is kept at each step; 1 freezes the given state.
        is_average: the gap of token means; False: of sums.
    """

    weight: NonNegative
    ema: Fraction
    is_average: bool = True

    def own_needs(self) -> Needs:
        """The reference's sums, running mean and deviation; couples the batch."""
        names = frozenset({"alpha_dpo/mean", "alpha_dpo/std"})
        return COUPLED | Needs(state=names, reference="sums", references=1)

    def next_state(self, likelihood: Float[Tensor, "S"], sides: Sides) -> State:
        """The averages with this step's gaps in them."""
        return moved(sides.view.state, "alpha_dpo", self._gap(sides), self.ema)

    def __call__(self, sides: Sides) -> Float[Tensor, "P"]:
        """weight * (gap - mean) / deviation, detached."""
        state = sides.view.state
        deviation = max(state.get("alpha_dpo/std", 0.0), _SMALLEST_DEVIATION)
        return self.weight * (self._gap(sides) - state.get("alpha_dpo/mean", 0.0)) / deviation

    def _gap(self, sides: Sides) -> Float[Tensor, "P"]:
        pool = TokenMean() if self.is_average else TokenSum()
        chosen, rejected = sides.halves(LogRatio(pool=pool)(sides).detach())
        return chosen - rejected
