"""What listens to a run: the progress bar, and the wish to stop."""

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from truing.core.progress import Task
from truing.engine import ranks


class ShowProgress(TrainerCallback):
    """One unit a step; beside it the step's loss and accuracy."""

    def __init__(self, task: Task) -> None:
        self._task, self._note = task, ""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """A resumed run begins where it stood."""
        del args, control
        if state.global_step:
            self._task.advance(state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Keep what to show."""
        del args, state, control
        if logs and "loss" in logs:
            self._note = f"loss {logs['loss']:.4f}"
            if "rewards/accuracies" in logs:
                self._note += f"  accuracy {logs['rewards/accuracies']:.2f}"

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """One step more."""
        del args, state, control
        self._task.advance(note=self._note)


class StopWithoutGain(TrainerCallback):
    """Stops where the last evaluations, `patience` of them, brought nothing better.

    It counts from the step of the best evaluation, which the Trainer's own state holds, so a
    resumed run stops where an undisturbed one does.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """A run that was killed between its stop and its end has nothing left to do."""
        if state.global_step and self._is_over(args, state, state.global_step):
            control.should_training_stop = True

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """The state does not know yet whether this evaluation is the best one."""
        best, now = state.best_metric, (metrics or {}).get(str(args.metric_for_best_model))
        is_better = best is None or (
            now is not None and (now > best if args.greater_is_better else now < best)
        )
        if not is_better and self._is_over(args, state, state.global_step):
            control.should_training_stop = True

    def _is_over(self, args: TrainingArguments, state: TrainerState, step: int) -> bool:
        assert args.eval_steps is not None, "evaluated every so many steps"
        if state.best_global_step is None:
            return False
        return step - state.best_global_step >= self._patience * args.eval_steps


# One wish reaches a process of several twice: from the scheduler and from its launcher.
_ONE_WISH_S = 5.0


class StopOnSignal(TrainerCallback):
    """Ctrl-C or SIGTERM: finish the step, write a checkpoint, stop. A second one stops at once.

    Of several processes a second one that follows within seconds is taken for the first one.
    Use as a context around training; `stopped` tells afterwards whether it happened.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.stopped = False
        self._asked = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopOnSignal":
        # Handlers can be set in the main thread only; elsewhere the caller decides.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in self._SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        now = time.monotonic()
        if self.stopped and (ranks.world() == 1 or now - self._asked > _ONE_WISH_S):
            raise KeyboardInterrupt
        self.stopped, self._asked = True, now

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Save and stop, if somebody asked any of the processes."""
        del args, state
        if any(ranks.gathered(self.stopped)):
            if not self.stopped:  # the wish has come to another process, and may come here yet
                self.stopped, self._asked = True, time.monotonic()
            control.should_save = True
            control.should_training_stop = True
