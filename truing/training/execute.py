"""One optimizer step's loss and gradient, whatever the micro-batches it is cut into."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import torch

from truing.core import BatchContext, Counts, State, View
from truing.core.joining import part, whole
from truing.engine import LOGPS_ONLY, Engine, TokenLogps, Wanted, ranks
from truing.engine.logps import LiveReference, response_index
from truing.errors import DivergedError
from truing.objectives import Objective, Terms, gradients, injected
from truing.references.distance import distances
from truing.references.join import PreferenceRow, Rows, join
from truing.training.heads import ScalarHeads
from truing.training.pairsums import PairSums
from truing.training.shares import Part, Place, all_views, in_order, parts_of, places


@dataclass(frozen=True)
class StepInputs:
    """The rows of a step: its own, and those of the auxiliary sources.

    Args:
        rows: the step's preference rows.
        auxiliary: rows drawn from each named source.
        seed: of the run.
        epoch: counted from 0.
        state: running scalars before the step.
    """

    rows: Rows
    auxiliary: Mapping[str, Rows] = field(default_factory=lambda: MappingProxyType({}))
    seed: int = 0
    epoch: int = 0
    state: State = field(default_factory=State)

    @property
    def context(self) -> BatchContext:
        """What the means of the whole step are taken over."""
        return BatchContext(
            counts=counts_of(self.rows),
            auxiliary_counts={name: counts_of(rows) for name, rows in self.auxiliary.items()},
            seed=self.seed,
            epoch=self.epoch,
        )

    @property
    def tokens(self) -> int:
        """Prompt and response tokens, each counted once."""
        return self.rows.tokens + sum(rows.tokens for rows in self.auxiliary.values())


@dataclass(frozen=True)
class StepResult:
    """What one optimizer step gave; metrics are means over the whole step.

    Args:
        loss: of the whole step.
        metrics: by name.
        state: running scalars after the step.
        tokens: prompt and response tokens.
        widest_log_ratio: over the parts, the largest mean absolute token log-ratio, nats.
    """

    loss: float
    metrics: dict[str, float]
    state: State
    tokens: int
    widest_log_ratio: float


Sync = Callable[[bool], AbstractContextManager[None]]


def _always(_last: bool) -> AbstractContextManager[None]:  # noqa: FBT001
    return nullcontext()


@dataclass(frozen=True)
class StepRunner:
    """Computes the gradient of an objective over one whole optimizer step.

    The rows are cut into forward passes by the engine; each part's loss is divided by the counts
    of the whole step, so that the sum is the loss of the step, however it was cut. Objectives that
    couple the rows of a step run in two passes (see `truing.objectives.coupled`). `moving` opens
    the reference that follows the policy, where there is one: it runs on the rows of each part.
    """

    objective: Objective
    engine: Engine
    wanted: Wanted
    heads: ScalarHeads | None = None
    moving: LiveReference | None = None

    def backward(
        self,
        model: torch.nn.Module,
        inputs: StepInputs,
        backward: Callable[[torch.Tensor], None],
        sync: Sync = _always,
    ) -> StepResult:
        """Add the step's gradient to the parameters.

        Args:
            model: the policy.
            inputs: all rows of the step.
            backward: how to run backward on a scalar (the trainer's).
            sync: a context for each part, told whether it is the last one.

        Raises:
            DivergedError: the loss is not finite; names the rows.
        """
        couples = self.objective.needs.couples == "batch"
        run = self._in_two_passes if couples else self._part_by_part
        return run(model, inputs, backward, sync)

    def _part_by_part(
        self,
        model: torch.nn.Module,
        inputs: StepInputs,
        backward: Callable[[torch.Tensor], None],
        sync: Sync,
    ) -> StepResult:
        context, own = inputs.context, _Tally()
        for piece in self._parts(inputs)[ranks.rank()]:
            with sync(piece.is_last):
                if not len(piece.rows):
                    backward(self._nothing(model, piece, inputs))
                    continue
                view = self._view(model, piece, context, inputs)
                terms = self.objective(view)
                backward(ranks.world() * terms.loss)
            own.add(terms, view, piece.rows.examples)
        total = own.of_all()
        total.stop_unless_finite()
        metrics = total.metrics | total.sums.metrics()
        return StepResult(total.loss, metrics, inputs.state, inputs.tokens, total.widest)

    def _in_two_passes(
        self,
        model: torch.nn.Module,
        inputs: StepInputs,
        backward: Callable[[torch.Tensor], None],
        sync: Sync,
    ) -> StepResult:
        context, parts = inputs.context, self._parts(inputs)
        mine, views = parts[ranks.rank()], dict[int, View]()
        with torch.no_grad():
            for piece in mine:
                if len(piece.rows):
                    views[piece.number] = self._view(model, piece, context, inputs)
                else:
                    self._nothing(model, piece, inputs)
        device = next(model.parameters()).device
        step = whole(all_views(views, context, inputs.state, device))
        found = gradients(self.objective, step)
        own, ordered = _Tally(), in_order(parts)
        own.add(found.terms, step, [row for one in ordered for row in one.rows.examples])
        own.stop_unless_finite()
        at = places(ordered)
        for piece in mine:
            with sync(piece.is_last):
                if not len(piece.rows):
                    backward(self._nothing(model, piece, inputs))
                    continue
                view = self._view(model, piece, context, inputs)
                slopes = _slopes_of(piece, at[piece.number], found.slopes)
                backward(ranks.world() * injected(view, slopes))
        metrics = own.metrics | own.sums.metrics()
        return StepResult(own.loss, metrics, found.terms.state, inputs.tokens, own.widest)

    def _parts(self, inputs: StepInputs) -> list[list[Part]]:
        return parts_of(self.engine, inputs.rows, inputs.auxiliary)

    def _view(
        self, model: torch.nn.Module, piece: Part, context: BatchContext, inputs: StepInputs
    ) -> View:
        """Policy log-probs of these rows and everything else the objective reads."""
        sources = {}
        for name, rows in piece.auxiliary.items():
            self._keep_company(model, piece, name, inputs)
            if len(rows):
                sources[name] = self._logps_of(model, rows)
        policy = self.engine.logps(model, piece.rows.examples, self.wanted)
        moving = self._said_by_moving(piece.rows)
        view = join(policy, piece.rows, context=context, state=inputs.state, moving=moving)
        heads = {} if self.heads is None else self.heads(policy)
        return replace(view, auxiliary=MappingProxyType(sources), heads=heads)

    def _keep_company(
        self, model: torch.nn.Module, piece: Part, name: str, inputs: StepInputs
    ) -> None:
        """Forward passes of a source that other processes make in this round, and this one not."""
        rows = piece.auxiliary[name]
        own = len(self.engine.plan(rows.examples)) if len(rows) else 0
        for _ in range(piece.forwards[name] - own):
            with torch.no_grad():
                self.engine.logps(model, inputs.auxiliary[name].examples[:1], LOGPS_ONLY)

    def _nothing(self, model: torch.nn.Module, piece: Part, inputs: StepInputs) -> torch.Tensor:
        """A loss of 0 that every weight has a part in: other processes have rows, this one not."""
        for name in inputs.auxiliary:
            self._keep_company(model, piece, name, inputs)
        policy = self.engine.logps(model, inputs.rows.examples[:1], self.wanted)
        heads = {} if self.heads is None else self.heads(policy)
        values = [policy.logps, *policy.statistics.values(), *heads.values()]
        values += [] if policy.prompt is None else [policy.prompt]
        return 0 * torch.stack([value.sum() for value in values]).sum()

    def _said_by_moving(self, rows: Rows) -> torch.Tensor | None:
        """Token log-probs of the reference that follows the policy, (M,)."""
        if self.moving is None:
            return None
        with torch.no_grad(), self.moving() as reference:
            return self.engine.logps(reference, rows.examples, LOGPS_ONLY).logps

    def _logps_of(self, model: torch.nn.Module, rows: Rows) -> View:
        """The view of one source's rows, in as many forward passes as they take."""
        views = [
            join(
                self.engine.logps(model, few.examples, Wanted(prompt=self.wanted.prompt)),
                few,
                context=None,
                state=State(),
            )
            for few in (rows.at(indices) for indices in self.engine.plan(rows.examples))
        ]
        return whole(views)


def counts_of(rows: Rows) -> Counts:
    """What the means of a step are taken over, without a look at any log-prob."""
    nowhere = torch.device("cpu")
    response, group = response_index(rows.examples, nowhere)
    lengths = torch.tensor([len(row.prompt) - 1 for row in rows.examples])
    policy = TokenLogps(
        logps=torch.zeros(len(response)),
        response=response,
        group=group,
        prompt=torch.zeros(int(lengths.sum())),
        prompt_group=torch.repeat_interleave(torch.arange(len(rows)), lengths),
    )
    bare = Rows(rows.examples, has_partner=rows.has_partner)
    return Counts.of(join(policy, bare, context=None, state=State()))


def _mean_log_ratio(view: View) -> float:
    """Mean absolute token log-ratio to the first reference, nats; 0 without one."""
    if view.references is None:
        return 0.0
    return float((view.policy.detach() - view.references[0]).abs().mean())


@dataclass
class _Tally:
    """What the parts of a step add up to, here and then everywhere."""

    loss: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    sums: PairSums = field(default_factory=PairSums)
    widest: float = 0.0
    faults: list[DivergedError] = field(default_factory=list)

    def add(self, terms: Terms, view: View, rows: Sequence[PreferenceRow]) -> None:
        """One part more."""
        self.loss += float(terms.loss.detach())
        self._add_metrics({name: float(value) for name, value in terms.metrics.items()})
        self._add_metrics(distances(view))
        self.sums += PairSums.of(view, terms.rewards)
        self.widest = max(self.widest, _mean_log_ratio(view))
        if not math.isfinite(self.loss) and not self.faults:
            self.faults.append(_not_finite(self.loss, view, rows))

    def _add_metrics(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self.metrics[name] = self.metrics.get(name, 0.0) + value

    def of_all(self) -> "_Tally":
        """What all processes have, the same in each of them."""
        total = _Tally()
        for one in ranks.gathered(self):
            total.loss += one.loss
            total._add_metrics(one.metrics)
            total.sums += one.sums
            total.widest = max(total.widest, one.widest)
            total.faults += one.faults
        return total

    def stop_unless_finite(self) -> None:
        """Every process stops where one has met a loss that is no number."""
        if self.faults:
            raise self.faults[0]


def _not_finite(loss: float, view: View, rows: Sequence[PreferenceRow]) -> DivergedError:
    """Names the rows whose own numbers are none, and whose numbers these are."""
    read = {"the policy's log-probs": view.policy, **view.statistics}
    for several in (view.references, view.reference_sums):
        for number, values in enumerate(() if several is None else several):
            read[f"the log-probs of reference {number + 1}"] = values
    found = {name: _rows_without_number(view, values) for name, values in read.items()}
    guilty = sorted(set().union(*found.values()))
    whose = " and ".join(name for name, indices in found.items() if indices)
    named = [rows[index] for index in guilty] or rows
    places = [str(getattr(row, "where", row.row_id)) for row in named]
    shown = ", ".join(places[:8]) + (f" and {len(places) - 8} more" if len(places) > 8 else "")
    why = f"{whose} are not finite" if guilty else "all log-probs are finite"
    return DivergedError(
        f"the loss is {loss}, and {why}, on rows {shown} "
        f"(row ids {', '.join(str(row.row_id) for row in named[:8])})",
        where="training",
        fix="lower learning_rate, look at these rows, or use dtype=float32",
    )


def _rows_without_number(view: View, values: torch.Tensor) -> set[int]:
    """Rows of the view in which one of these numbers, of tokens (M,) or sums (N,), is none."""
    row = view.group[view.response] if len(values) == len(view.response) else view.group
    return set(row[~torch.isfinite(values.detach())].tolist())


def _slopes_of(piece: Part, at: Place, slopes: View) -> View:
    """The rows of a part among the slopes of the whole step."""
    sources = {
        name: part(slopes.auxiliary[name], at.auxiliary[name], at.auxiliary[name] + len(rows))
        for name, rows in piece.auxiliary.items()
        if len(rows)
    }
    return replace(part(slopes, at.row, at.row + len(piece.rows)), auxiliary=sources)
