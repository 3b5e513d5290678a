"""The token floor: from token log-probs to one number per side (nats).

Policy and reference are pooled separately, each with its own token weight, then subtracted: that is
what lets several references combine after pooling, and policy and reference weigh differently.

Shapes: M tokens, S sides, R references.
"""

from abc import abstractmethod

from jaxtyping import Float
from torch import Tensor

from truing.core.knobs import NonNegative, Real
from truing.core.needs import Needs
from truing.core.sides import Sides
from truing.errors import KnobError
from truing.objectives.combine import Combine, One
from truing.objectives.part import Part, part
from truing.objectives.pooling import Pool, TokenSum
from truing.objectives.weights import TokenWeight, Whole


@part
class Likelihood(Part):
    """How likely each side is: nats, with gradient into the policy's tokens only."""

    pool: Pool = TokenSum()

    @abstractmethod
    def __call__(self, sides: Sides) -> Float[Tensor, "S"]:
        """(S,) nats."""


@part
class PolicyLogp(Likelihood):
    """log pi(y|x) itself: no reference is loaded."""

    weight: TokenWeight = Whole()

    def __call__(self, sides: Sides) -> Float[Tensor, "S"]:
        """pool(sum_t w_t lp_t)."""
        return pooled(sides.view.policy, self.weight, self.pool, sides)


@part
class LogRatio(Likelihood):
    """log pi(y|x) - log pi_ref(y|x).

    Args:
        pool: sums or means over the tokens, of policy and reference alike.
        policy: weight of the policy's tokens.
        reference: weight of the reference's tokens; None: the policy's weight, draws included.
        combine: what several references become; the first one alone by default.
        policy_share: factor on the policy's log-prob alone.
    """

    policy: TokenWeight = Whole()
    reference: TokenWeight | None = None
    combine: Combine = One()
    policy_share: NonNegative = 1.0

    @property
    def reference_weight(self) -> TokenWeight:
        """The weight of the reference's tokens."""
        return self.policy if self.reference is None else self.reference

    def own_needs(self) -> Needs:
        """Sums where the whole response counts, else the reference's tokens."""
        is_whole = isinstance(self.reference_weight, Whole)
        return Needs(reference="sums" if is_whole else "tokens", references=1)

    def __call__(self, sides: Sides) -> Float[Tensor, "S"]:
        """share * pool(sum_t w_t lp_t) - combine_k(pool(sum_t v_t lr_kt))."""
        policy = pooled(sides.view.policy, self.policy, self.pool, sides)
        policy = policy if self.policy_share == 1.0 else self.policy_share * policy
        weight, view = self.reference_weight, sides.view
        if isinstance(weight, Whole):
            references = self.pool(view.reference_totals(sides), sides)
        else:
            references = pooled(view.need("references"), weight, self.pool, sides)
        return policy - self.combine(references.detach(), sides)


@part
class ClampedRatio(Likelihood):
    """Token log-ratios held within [low, high]; a clamped token has no gradient.

    Args:
        low: log of the smallest ratio, nats.
        high: log of the largest ratio, nats.
    """

    low: Real = -1.0
    high: Real = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low >= self.high:
            raise KnobError(
                f"must be below high, got {self.low:g} and {self.high:g}",
                where="ClampedRatio(low=)",
                fix="for instance low=-1.0, high=1.5",
            )

    def own_needs(self) -> Needs:
        """Per-token references."""
        return Needs(reference="tokens", references=1)

    def __call__(self, sides: Sides) -> Float[Tensor, "S"]:
        """pool(sum_t clamp(lp_t - lr_t, low, high))."""
        ratios = sides.view.policy - sides.view.need("references")[0].detach()
        return self.pool(sides.totals(ratios.clamp(self.low, self.high)), sides)


@part
class UnconditionalRatio(Likelihood):
    """log pi(y|x) - log p_ref(y), the reference without the prompt."""

    def own_needs(self) -> Needs:
        """Log p_ref(y) of each response."""
        return Needs(unconditional_reference=True)

    def __call__(self, sides: Sides) -> Float[Tensor, "S"]:
        """pool(sum_t lp_t) - pool(log p_ref(y))."""
        reference = sides.view.need("unconditional")[sides.response].detach()
        return self.pool(sides.totals(sides.view.policy) - reference, sides)


def pooled(
    tokens: Float[Tensor, "*R M"], weight: TokenWeight, pool: Pool, sides: Sides
) -> Float[Tensor, "*R S"]:
    """Weighted sums over the tokens of each side, pooled."""
    if isinstance(weight, Whole):
        return pool(sides.totals(tokens), sides)
    return pool(sides.weighted(tokens, weight(sides)), sides)
