"""One optimizer step's loss and gradient, whatever the micro-batches it is cut into."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import torch

from truing.core import BatchContext, Counts, State, View
from truing.core.joining import part, whole
from truing.engine import Engine, TokenLogps, Wanted
from truing.engine.logps import response_index
from truing.errors import StoppedError
from truing.objectives import Objective, gradients, injected
from truing.references.join import PreferenceRow, Rows, join
from truing.training.heads import ScalarHeads


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


@dataclass(frozen=True)
class _Part:
    """Some of a step's rows: as many as fit one forward pass, and their share of the sources."""

    rows: Rows
    auxiliary: Mapping[str, Rows]
    is_last: bool


Sync = Callable[[bool], AbstractContextManager[None]]


def _always(_last: bool) -> AbstractContextManager[None]:  # noqa: FBT001
    return nullcontext()


@dataclass(frozen=True)
class StepRunner:
    """Computes the gradient of an objective over one whole optimizer step.

    The rows are cut into forward passes by the engine; each part's loss is divided by the counts
    of the whole step, so that the sum is the loss of the step, however it was cut. Objectives that
    couple the rows of a step run in two passes (see `truing.objectives.coupled`).
    """

    objective: Objective
    engine: Engine
    wanted: Wanted
    heads: ScalarHeads | None = None

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
            StoppedError: the loss is not finite; names the rows.
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
        context = inputs.context
        total, metrics, widest = 0.0, {}, 0.0
        for piece in self._parts(inputs):
            with sync(piece.is_last):
                view = self._view(model, piece, context, inputs.state)
                terms = self.objective(view)
                _stop_unless_finite(terms.loss, piece.rows.examples)
                backward(terms.loss)
            total += float(terms.loss.detach())
            for name, value in terms.metrics.items():
                metrics[name] = metrics.get(name, 0.0) + float(value)
            widest = max(widest, _mean_log_ratio(view))
        return StepResult(total, metrics, inputs.state, inputs.tokens, widest)

    def _in_two_passes(
        self,
        model: torch.nn.Module,
        inputs: StepInputs,
        backward: Callable[[torch.Tensor], None],
        sync: Sync,
    ) -> StepResult:
        context, pieces = inputs.context, list(self._parts(inputs))
        with torch.no_grad():
            views = [self._view(model, piece, context, inputs.state) for piece in pieces]
        step = whole(views)
        found = gradients(self.objective, step)
        _stop_unless_finite(found.terms.loss, inputs.rows.examples)
        first, firsts = 0, dict.fromkeys(inputs.auxiliary, 0)
        for piece in pieces:
            slopes = part(found.slopes, first, first + len(piece.rows))
            sources = {}
            for name, rows in piece.auxiliary.items():
                start, firsts[name] = firsts[name], firsts[name] + len(rows)
                sources[name] = part(found.slopes.auxiliary[name], start, firsts[name])
            first += len(piece.rows)
            with sync(piece.is_last):
                view = self._view(model, piece, context, inputs.state)
                backward(injected(view, replace(slopes, auxiliary=sources)))
        metrics = {name: float(value) for name, value in found.terms.metrics.items()}
        widest = max(map(_mean_log_ratio, views))
        return StepResult(
            float(found.terms.loss), metrics, found.terms.state, inputs.tokens, widest
        )

    def _parts(self, inputs: StepInputs) -> Iterator[_Part]:
        passes = self.engine.plan(inputs.rows.examples)
        for number, indices in enumerate(passes):
            # Every part takes its share of the sources, so that none is much larger than another.
            shares = {
                name: rows.at(range(len(rows))[number :: len(passes)])
                for name, rows in inputs.auxiliary.items()
            }
            yield _Part(inputs.rows.at(indices), shares, number == len(passes) - 1)

    def _view(
        self, model: torch.nn.Module, piece: _Part, context: BatchContext, state: State
    ) -> View:
        """Policy log-probs of these rows and everything else the objective reads."""
        sources = {
            name: self._logps_of(model, rows) for name, rows in piece.auxiliary.items() if len(rows)
        }
        policy = self.engine.logps(model, piece.rows.examples, self.wanted)
        view = join(policy, piece.rows, context=context, state=state)
        heads = {} if self.heads is None else self.heads(policy)
        return replace(view, auxiliary=MappingProxyType(sources), heads=heads)

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


def _stop_unless_finite(loss: torch.Tensor, rows: Sequence[PreferenceRow]) -> None:
    if bool(torch.isfinite(loss)):
        return
    places = [str(getattr(row, "where", row.row_id)) for row in rows]
    shown = ", ".join(places[:8]) + (f" and {len(places) - 8} more" if len(places) > 8 else "")
    raise StoppedError(
        f"the loss is {float(loss.detach())} on rows {shown} "
        f"(row ids {', '.join(str(row.row_id) for row in rows[:8])})",
        where="training",
        fix="lower learning_rate, look at these rows, or use dtype=float32",
    )
