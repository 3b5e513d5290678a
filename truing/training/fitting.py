"""Out of memory: the same step again in smaller forward passes, or a stop with advice."""

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import torch

from truing.engine import ranks
from truing.errors import FitError, StoppedError
from truing.training.execute import StepInputs, StepRunner

T = TypeVar("T")
# What torch's allocator of the CPU says; that of a GPU has an exception of its own.
_FULL = ("can't allocate memory", "not enough memory")


class OutOfMemoryError(StoppedError):
    """This process has no memory for a step; others may stand in the middle of it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory left."""
    text = str(error)
    kinds = (torch.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or any(words in text for words in _FULL)


@dataclass(frozen=True)
class Fitting:
    """What is done where a step does not fit into memory.

    Rows, loss and gradient of a step do not depend on how it is cut, so a smaller budget of
    tokens costs time and nothing else.

    Args:
        way: `halve` the budget and go on with the same step, or `stop`.
        say: is told what was done.
    """

    way: Literal["halve", "stop"]
    say: Callable[[str], None]

    def run(
        self, work: Callable[[StepRunner], T], runner: StepRunner, inputs: StepInputs, step: int
    ) -> tuple[T, StepRunner]:
        """The work's result, and the runner that it fitted with.

        Args:
            work: a step, which may be begun again.
            runner: with the budget so far.
            inputs: rows of the step.
            step: its number, for messages.

        Raises:
            OutOfMemoryError: nothing smaller is possible, or allowed.
        """
        while True:
            try:
                return work(runner), runner
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).strip().splitlines()[0][:160] if str(error) else "no memory"
            # Outside the handler: the error's trace would keep every tensor of the step alive.
            runner = self._smaller(runner, inputs, step, reason)
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _smaller(
        self, runner: StepRunner, inputs: StepInputs, step: int, reason: str
    ) -> StepRunner:
        engine: Any = runner.engine
        budget = engine.tokens_per_device // 2
        if self.way == "stop" or ranks.world() > 1:
            raise _stopped(step, reason, f"set tokens_per_device={budget} or less")
        smaller = replace(runner, engine=replace(engine, tokens_per_device=budget))
        try:
            for rows in (inputs.rows, *inputs.auxiliary.values()):
                smaller.engine.plan(rows.examples)
        except FitError as error:
            raise _stopped(step, reason, "set a smaller max_length") from error
        self.say(
            f"out of memory at step {step}: going on with tokens_per_device={budget} "
            f"(it was {engine.tokens_per_device}); the loss stays the same"
        )
        return smaller


def _stopped(step: int, reason: str, fix: str) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"out of memory at step {step} ({reason})",
        where="training",
        fix=f"{fix}, trainer.gradient_checkpointing=true, or lora=true",
    )
