"""Objectives are values: they add, scale, compare, print, and tell what they need.

    a + 0.2 * b        the sum of two losses on the same view; both stay values

Shapes: P pairs. A loss is a scalar that divides by the optimizer step's counts, never by a local
size, so the losses of micro-batches of one step add up to the loss of the whole.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from jaxtyping import Float
from torch import Tensor

from truing.core.knobs import Real
from truing.core.needs import Needs
from truing.core.state import State
from truing.core.view import View
from truing.errors import KnobError
from truing.objectives.diagnostics import of_policy
from truing.objectives.part import Part, part, written


@dataclass(frozen=True, eq=False)
class Terms:
    """What an objective says about a view.

    Args:
        loss: scalar, with gradient; this view's share of the step's loss.
        per_pair: (P,) detached; each pair's own loss before the reduction (under AOT, which sorts,
            in ascending order of margins instead).
        metrics: detached scalars; means over the step's global pairs (or responses), so that the
            values of micro-batches add up. TRL's names, and Truing's own.
        state: the running scalars after this view.
        rewards: (P, 2) detached; beta times the likelihood of the chosen and the rejected side,
            where the objective has such a thing. A sum has those of its first term that has any.
    """

    loss: Float[Tensor, ""]
    per_pair: Float[Tensor, "P"]
    metrics: Mapping[str, Float[Tensor, ""]] = field(default_factory=lambda: MappingProxyType({}))
    state: State = field(default_factory=State)
    rewards: Float[Tensor, "P 2"] | None = None


@dataclass(frozen=True)
class Origin:
    """The recipe call that made an objective, and what the recipe says of it."""

    name: str
    arguments: tuple[tuple[str, Any], ...]
    idea: str = ""
    formula: str = ""
    source: str = ""

    def __str__(self) -> str:
        texts = [
            written(value)
            if i == 0 and isinstance(value, Objective)
            else f"{knob}={written(value)}"
            for i, (knob, value) in enumerate(self.arguments)
        ]
        return f"{self.name}({', '.join(texts)})"


@part
class Objective(Part):
    """A loss on views. Call it; add it to another; scale it.

    `origin` is the recipe that made it: it decides how the value prints and is no part of equality.
    """

    origin: Origin | None = field(default=None, init=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.needs.responses:
            raise KnobError(
                "no kind of row serves all of its terms: one wants pairs, another unpaired rows",
                where=repr(self),
                fix="train on one kind, or read the other from an auxiliary source",
            )

    def __call__(self, view: View) -> Terms:
        """Loss, per-pair losses, metrics and new state.

        Raises:
            NeedsError: the view lacks what `needs` names.
        """
        terms = self.terms(view)
        return replace(terms, metrics={**of_policy(view), **terms.metrics})

    @abstractmethod
    def terms(self, view: View) -> Terms:
        """Loss, own metrics and state; `__call__` adds the metrics that all objectives share."""

    def rewards(self, view: View) -> Float[Tensor, "P 2"] | None:
        """Rewards of both sides of each pair, detached; None for a loss that has no such thing.

        Unlike the loss it reads neither scores nor labels nor the other rows, so held-out pairs of
        any kind have rewards.
        """
        return None

    @property
    def name(self) -> str:
        """The recipe's name, or the class's where it was made of parts."""
        return self.origin.name if self.origin else type(self).__name__.lower()

    def __add__(self, other: "Objective") -> "Sum":
        """The sum of both losses."""
        if not isinstance(other, Objective):  # pyright: ignore[reportUnnecessaryIsInstance]
            return NotImplemented
        return Sum(_flat(self) + _flat(other))

    def __mul__(self, factor: float) -> "Scaled":
        """The loss times a number."""
        is_number = isinstance(factor, int | float)  # pyright: ignore[reportUnnecessaryIsInstance]
        if isinstance(factor, bool) or not is_number:
            return NotImplemented
        if isinstance(self, Scaled):
            return Scaled(factor * self.factor, self.objective)
        return Scaled(float(factor), self)

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return str(self.origin) if self.origin else super().__repr__()


def made_by(objective: Objective, origin: Origin) -> Objective:
    """The same value, printing as the recipe call that made it."""
    named = replace(objective)
    object.__setattr__(named, "origin", origin)
    return named


@part
class Scaled(Objective):
    """An objective whose loss counts `factor` times; its metrics stay as they are."""

    factor: Real
    objective: Objective

    def terms(self, view: View) -> Terms:
        """The objective's terms with loss and per-pair losses scaled."""
        terms = self.objective.terms(view)
        return replace(terms, loss=self.factor * terms.loss, per_pair=self.factor * terms.per_pair)

    def rewards(self, view: View) -> Float[Tensor, "P 2"] | None:
        """Those of what is scaled."""
        return self.objective.rewards(view)

    @property
    def name(self) -> str:
        """The name of what is scaled."""
        return self.origin.name if self.origin else self.objective.name

    def __repr__(self) -> str:
        if self.origin:
            return str(self.origin)
        inner = repr(self.objective)
        is_open = isinstance(self.objective, Sum) and self.objective.origin is None
        return f"{self.factor!r}*({inner})" if is_open else f"{self.factor!r}*{inner}"


@part
class Sum(Objective):
    """Several losses on the same view, each with its own reduction.

    The first term keeps its metric names; where a later one has the same, it gets its term's name
    in front (and its number, where even that is taken).
    """

    summands: tuple[Objective, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.summands) < 2:
            raise KnobError("needs two terms or more", where="Sum(summands=)", fix="write a + b")
        _refuse_shared_state(self)

    def terms(self, view: View) -> Terms:
        """Sums of loss and per-pair losses; metrics of all terms, and `loss/NAME` of each."""
        parts = [term.terms(view) for term in self.summands]
        metrics: dict[str, Tensor] = {}
        for i, (term, own_terms) in enumerate(zip(self.summands, parts, strict=True), start=1):
            own = {f"loss/{term.name}": own_terms.loss.detach(), **own_terms.metrics}
            prefix = "" if not i > 1 else f"{term.name}/"
            for name, value in own.items():
                free = name if name not in metrics else f"{prefix}{name}"
                metrics[free if free not in metrics else f"{i}.{free}"] = value
        loss, per_pair, state = parts[0].loss, parts[0].per_pair, view.state
        for other in parts[1:]:
            loss, per_pair = loss + other.loss, per_pair + other.per_pair
        for term, own_terms in zip(self.summands, parts, strict=True):
            state = state.taking(term.needs.state, own_terms.state)
        rewards = next((own.rewards for own in parts if own.rewards is not None), None)
        return Terms(loss, per_pair, metrics, state, rewards)

    def rewards(self, view: View) -> Float[Tensor, "P 2"] | None:
        """Those of the first term that has any."""
        found = (term.rewards(view) for term in self.summands)
        return next((rewards for rewards in found if rewards is not None), None)

    @property
    def name(self) -> str:
        """The recipe's name, or those of the terms joined."""
        return self.origin.name if self.origin else "+".join(t.name for t in self.summands)

    def __repr__(self) -> str:
        return str(self.origin) if self.origin else " + ".join(map(repr, self.summands))


def _flat(objective: Objective) -> tuple[Objective, ...]:
    if isinstance(objective, Sum) and objective.origin is None:
        return objective.summands
    return (objective,)


def _refuse_shared_state(total: Sum) -> None:
    owners: dict[str, Part] = {}
    for term in total.summands:
        for name in term.needs.state:
            if owners.setdefault(name, term) != term:
                raise KnobError(
                    f"two different terms keep the running value {name!r}",
                    where=repr(total),
                    fix=f"leave out {owners[name]!r} or {term!r}",
                )


def parts_of(top: Part) -> list[Part]:
    """The part and all below it, depth first."""
    return [top, *(below for child in top.children() for below in parts_of(child))]


def no_effect(recipe: str, knob: str, because: str, fix: str) -> KnobError:
    """The error for a knob that does nothing in this combination."""
    return KnobError(f"has no effect: {because}", where=f"{recipe}({knob}=)", fix=fix)


PAIRS = Needs(responses=frozenset({"pairs", "kwise"}))
"""What everything that stands on pairs reads: they may come from pair rows or K-wise rows."""
