"""One optimizer step's loss and gradient, whatever the micro-batches it is cut into."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch

from truing.core import BatchContext, Counts, State, View
from truing.engine import Engine, TokenLogps, TokenRow, Wanted
from truing.engine.logps import response_index
from truing.errors import StoppedError
from truing.objectives import Objective
from truing.references.join import PreferenceRow, join


@dataclass(frozen=True)
class StepResult:
    """What one optimizer step gave; metrics are means over the whole step."""

    loss: float
    metrics: dict[str, float]
    state: State
    tokens: int
    widest_log_ratio: float


@dataclass(frozen=True)
class StepInputs:
    """The rows of a step, with what each reference says of them."""

    rows: Sequence[PreferenceRow]
    references: Sequence[Sequence[np.ndarray]]
    seed: int
    epoch: int
    state: State = field(default_factory=State)

    def part(self, indices: Sequence[int]) -> "StepInputs":
        """Some of the rows."""
        return StepInputs(
            [self.rows[i] for i in indices],
            [[reference[i] for i in indices] for reference in self.references],
            self.seed,
            self.epoch,
            self.state,
        )

    @property
    def tokens(self) -> int:
        """Prompt and response tokens, each counted once."""
        return sum(count_tokens(row) for row in self.rows)


def count_tokens(row: TokenRow) -> int:
    """Tokens of the prompt and of every response."""
    return len(row.prompt) + sum(map(len, row.responses))


Sync = Callable[[bool], AbstractContextManager[None]]


def _always(_last: bool) -> AbstractContextManager[None]:  # noqa: FBT001
    return nullcontext()


@dataclass(frozen=True)
class StepRunner:
    """Computes the gradient of an objective over one whole optimizer step.

    The rows are cut into forward passes by the engine; each part's loss is divided by the counts
    of the whole step, so that the sum is the loss of the step, however it was cut.
    """

    objective: Objective
    engine: Engine
    wanted: Wanted

    def view(self, model: torch.nn.Module, part: StepInputs, counts: Counts | None) -> View:
        """Policy log-probs of these rows and everything else the objective reads."""
        policy = self.engine.logps(model, part.rows, self.wanted)
        context = None
        if counts is not None:
            context = BatchContext(counts=counts, seed=part.seed, epoch=part.epoch)
        return join(policy, part.rows, part.references, context=context, state=part.state)

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
        counts = counts_of(inputs.rows)
        passes = self.engine.plan(inputs.rows)
        total, metrics, state, widest = 0.0, {}, inputs.state, 0.0
        for number, indices in enumerate(passes):
            part = inputs.part(indices)
            with sync(number == len(passes) - 1):
                view = self.view(model, part, counts)
                terms = self.objective(view)
                _stop_unless_finite(terms.loss, part.rows)
                backward(terms.loss)
            total += float(terms.loss.detach())
            for name, value in terms.metrics.items():
                metrics[name] = metrics.get(name, 0.0) + float(value)
            state = terms.state
            widest = max(widest, _mean_log_ratio(view))
        return StepResult(total, metrics, state, inputs.tokens, widest)


def counts_of(rows: Sequence[PreferenceRow]) -> Counts:
    """What the means of a step are taken over, without a look at any log-prob."""
    nowhere = torch.device("cpu")
    response, group = response_index(rows, nowhere)
    lengths = torch.tensor([len(row.prompt) - 1 for row in rows])
    policy = TokenLogps(
        logps=torch.zeros(len(response)),
        response=response,
        group=group,
        prompt=torch.zeros(int(lengths.sum())),
        prompt_group=torch.repeat_interleave(torch.arange(len(rows)), lengths),
    )
    return Counts.of(join(policy, rows, (), context=None, state=State()))


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
        f"the loss is {float(loss)} on rows {shown} "
        f"(row ids {', '.join(str(row.row_id) for row in rows[:8])})",
        where="training",
        fix="lower learning_rate, look at these rows, or use dtype=float32",
    )
