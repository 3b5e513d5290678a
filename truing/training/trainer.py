"""transformers' Trainer, with Truing's batches, loss, metrics and atomic checkpoints put in."""

import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import Trainer
from transformers.trainer_callback import ExportableState, PrinterCallback

from truing.core import State
from truing.core.progress import SILENT
from truing.engine import ranks
from truing.engine.noise import said_before
from truing.errors import ConfigError, DivergedError, StoppedError
from truing.references.distance import far_references
from truing.references.moving import MovingReference
from truing.training import folder
from truing.training.alarms import Alarm, Alarms
from truing.training.best import MEASURES
from truing.training.checkpoints import (
    OBJECTIVE_STATE,
    reading,
    saved_aside,
    writing,
    written_by_all,
)
from truing.training.execute import StepInputs, StepResult, StepRunner, Sync
from truing.training.fitting import Fitting, OutOfMemoryError
from truing.training.heads import without_heads
from truing.training.material import Material
from truing.training.parts import load_parts, save_parts
from truing.training.sharding import is_sharded, load_weights, number_of, whole_weights
from truing.training.steps import StepLoader, StepRows, StepSampler, drawn

MOMENTS = "moments.pt"


class PreferenceTrainer(Trainer):
    """One item of its loader is a whole optimizer step; it makes the micro-batches itself.

    Args:
        runner: objective and engine.
        material: rows and references.
        evaluator: scores the held-out rows with the policy as it stands; None: no evaluation.
        kl_limit: nats a response past which there is an alarm; None: nobody asked.
        out_of_memory: halve the budget of tokens and go on, or stop.
        say: is told each alarm in a sentence.
        moving: the reference that follows the policy; None: all stand still.
        in_parts: checkpoints hold the optimizer's state in parts, for any number of processes.
    """

    # The loss is divided by the counts of the whole step already.
    loss_is_scaled_for_ga: bool | None = True

    def __init__(
        self,
        *args: Any,
        runner: StepRunner,
        material: Material,
        evaluator: Callable[[torch.nn.Module], dict[str, float]] | None,
        kl_limit: float | None = None,
        out_of_memory: Literal["halve", "stop"] = "halve",
        say: Callable[[str], None] = SILENT.note,
        moving: MovingReference | None = None,
        in_parts: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        # Such a model has its place and meets its gradients by itself: it is not wrapped again.
        self.is_distributed_loading_by_transformers = is_sharded(self.model)
        # The run's own callbacks show it; this one would print a dictionary a step.
        self.remove_callback(PrinterCallback)
        # Several devices in one process would be split by DataParallel, which knows no rows.
        self.args._n_gpu = min(self.args.n_gpu, 1)
        self._runner, self._material, self._evaluator = runner, material, evaluator
        self._moving, self._in_parts = moving, in_parts
        self._objective_state = State()
        self._last_metrics: dict[str, float] = {}
        self._grad_norm: float | None = None
        self._step: StepResult | None = None
        self._moments: dict[str, Any] | None = None
        self._started = time.perf_counter()
        self._run = Path(str(self.args.output_dir))
        self._sampler = StepSampler(
            len(material.rows),
            material.rows_per_step,
            seed=self.args.seed,
            shuffle=material.shuffle,
        )
        self._fitting = Fitting(out_of_memory, say)
        self._alarms = Alarms(self._run, self.num_steps, kl_limit=kl_limit, say=say)

    # ------------------------------------------------------------------ rows
    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole run."""
        if self.args.max_steps > 0:
            return self.args.max_steps
        return math.ceil(self.args.num_train_epochs * len(self._sampler))

    def get_train_dataloader(self) -> Any:
        """Every process sees every step whole, so nothing is sharded."""
        return StepLoader(self._sampler, len(self._material.rows))

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """The next step; counts are taken from its rows, not from labels."""
        del num_batches, device
        return [next(epoch_iterator)], None

    def floating_point_ops(self, inputs: Any) -> int:
        """Six operations a parameter and token."""
        tokens = self._material.rows.at(inputs.indices).tokens
        size = sum(p.numel() for p in self.model.parameters())  # type: ignore[union-attr]
        # The Trainer adds up what all processes say.
        return 6 * tokens * size // ranks.world()

    # ------------------------------------------------------------------ steps
    def training_step(
        self, model: Any, inputs: Any, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Loss and gradient of one whole optimizer step.

        Raises:
            StoppedError: the loss is not finite or there is no memory for it (a checkpoint of the
                state before this step is written first), or the policy is not its own reference
                at the start.
        """
        del num_items_in_batch
        self._started = time.perf_counter()
        model.train()
        assert isinstance(inputs, StepRows)
        step = StepInputs(
            self._material.rows.at(inputs.indices),
            {
                name: rows.at(
                    drawn(len(rows), len(inputs.indices), self.state.global_step, self.args.seed)
                )
                for name, rows in self._material.auxiliary.items()
            },
            seed=self.args.seed,
            epoch=self._sampler.epoch,
            state=self._objective_state,
        )

        def attempt(runner: StepRunner) -> StepResult:
            model.zero_grad()
            with self.compute_loss_context_manager():
                return runner.backward(model, step, self.accelerator.backward, self._sync_of(model))

        number = self.state.global_step + 1
        try:
            self._step, self._runner = self._fitting.run(attempt, self._runner, step, number)
        except StoppedError as error:
            # All processes meet at a checkpoint, and only this one is known to stand here.
            is_alone = isinstance(error, OutOfMemoryError) and ranks.world() > 1
            self._stop(error, saves=not is_alone)
            raise
        self._check_start(self._step)
        self._check_distance(self._step)
        self._objective_state = self._step.state
        return torch.tensor(self._step.loss, device=self.args.device)

    def _sync_of(self, model: Any) -> Sync:
        """Gradients meet those of other processes in a step's last part.

        Where the weights are sharded they meet in every part: to keep them would take the memory
        that sharding is there to save.
        """
        if ranks.world() == 1 or is_sharded(self.model):
            return lambda _: nullcontext()
        return lambda is_last: nullcontext() if is_last else self.accelerator.no_sync(model)

    def _stop(self, error: StoppedError, *, saves: bool = True) -> None:
        """Keep the last good state, unless it is the start or lies there; the last alarm."""
        step = self.state.global_step
        if saves and step and not (self._run / f"checkpoint-{step}").exists():
            self._save_checkpoint(self.model, trial=None)
        if self.args.should_save:
            self._alarms.ring(Alarm(step + 1, "stopped", error.what, error.fix))

    def _check_start(self, step: StepResult) -> None:
        tolerance = self._material.start_tolerance
        if tolerance is None or self.state.global_step or step.widest_log_ratio <= tolerance:
            return
        raise StoppedError(
            "the policy is not its own reference at step 0: mean absolute token log-ratio "
            f"{step.widest_log_ratio:.2e} nats, where at most {tolerance:.0e} is rounding",
            where="start check",
            fix="look for dropout, another reference model, or another template; "
            "checks.start=false trains all the same",
        )

    def _check_distance(self, step: StepResult) -> None:
        """Say which references are far from the policy before it has moved."""
        if self.state.global_step:
            return
        material = self._material
        for far in far_references(step.metrics, material.judged, material.num_references):
            self._alarms.ring(Alarm(1, "far_reference", far.what, far.fix))

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Keep the norm for the step's line; one that is not finite never reaches the weights."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        self._grad_norm = None if norm is None else number_of(norm)
        if self._grad_norm is not None and not math.isfinite(self._grad_norm):
            error = DivergedError(
                f"the gradient's norm is {self._grad_norm} at step {self.state.global_step + 1}",
                where="training",
                fix="lower learning_rate, or use dtype=float32",
            )
            self._stop(error)
            raise error
        return norm

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Write the step's line before anything is logged, evaluated or saved."""
        if self._step is not None:
            if self._moving is not None:
                self._moving.update(self.state.global_step)
            self._write_line(self._step, kwargs.get("learning_rate"))
            self._step = None
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def _write_line(self, step: StepResult, learning_rate: float | None) -> None:
        self._last_metrics = step.metrics
        line = {
            "step": self.state.global_step,
            "epoch": round(self.state.epoch or 0.0, 6),
            "loss": step.loss,
            "learning_rate": learning_rate,
            "grad_norm": self._grad_norm,
            "seconds": round(time.perf_counter() - self._started, 4),
            "tokens": step.tokens,
            **step.metrics,
        }
        self._append(line)

    def _append(self, line: dict[str, Any]) -> None:
        if not self.args.should_save:
            return
        with writing(self._run / folder.METRICS):
            folder.append_line(self._run / folder.METRICS, line)
            self._alarms.look(line)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trackers see the objective's metrics beside the loss."""
        if "loss" in logs:
            logs = {**logs, **self._last_metrics}
        super().log(logs, start_time)

    # ------------------------------------------------------------------ evaluation
    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Score the held-out rows; numbers are named `eval_NAME`."""
        del eval_dataset, ignore_keys
        assert self._evaluator is not None, "evaluation without held-out rows"
        numbers = self._evaluator(self.model)  # type: ignore[arg-type]
        wanted = str(self.args.metric_for_best_model or "").removeprefix("eval_")
        if self.args.load_best_model_at_end and wanted not in numbers:
            raise ConfigError(
                f"evaluation.best={wanted} is not measured: neither by this objective nor on these "
                "held-out rows",
                where="evaluation",
                fix=f"take one of {', '.join(name for name in MEASURES if name in numbers)}",
            )
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in numbers.items()}
        line = {f"eval/{name}": value for name, value in numbers.items()}
        self._append({"step": self.state.global_step, **line})
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    # ------------------------------------------------------------------ checkpoints
    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Written aside and renamed, so that a checkpoint is whole or is not there."""
        del model, trial
        target = self._run / f"checkpoint-{self.state.global_step}"
        if self.state.best_global_step == self.state.global_step:
            self.state.best_model_checkpoint = str(target)
        with saved_aside(target) as aside:
            with written_by_all(target):
                self.save_model(str(aside), _internal_call=True)
            if not self.args.save_only_model:
                self._save_optimizer_and_scheduler(str(aside))
                self._save_scaler(str(aside))
                self._save_rng_state(str(aside))
            if self.args.should_save:
                self._save_own_state(aside)
        if self.args.should_save:
            folder.rotate(self._run, self.args.save_total_limit, self.state.best_model_checkpoint)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Nothing, where a resumed run had stopped already."""
        if not self.control.should_training_stop:
            super()._run_epoch(*args, **kwargs)

    def _load_best_model(self) -> None:
        """The weights of the best evaluation, and the heads that lie beside them."""
        if is_sharded(self.model):
            load_weights(self.model, Path(str(self.state.best_model_checkpoint)))
            return
        super()._load_best_model()
        if self._runner.heads is not None:
            self._runner.heads.load(Path(str(self.state.best_model_checkpoint)))

    def _save_own_state(self, aside: Path) -> None:
        folder.write_json(aside / OBJECTIVE_STATE, dict(self._objective_state))
        if self._moving is not None:
            self._moving.save(aside)
        for callback in [*self.callback_handler.callbacks, self.control]:
            if isinstance(callback, ExportableState):
                stateful: Any = self.state.stateful_callbacks
                stateful[type(callback).__name__] = callback.state()
        self.state.save_to_json(str(aside / "trainer_state.json"))

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Weights and tokenizer, and no pickled arguments beside them."""
        model: Any = self.model
        if is_sharded(model):
            state_dict = whole_weights(model)
        if not self.args.should_save:
            return
        target = output_dir or str(self._run)
        heads = self._runner.heads
        if heads is not None:
            heads.save(Path(target))
            state_dict = without_heads(state_dict or model.state_dict())
        with said_before(model):
            model.save_pretrained(target, state_dict=state_dict)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(target)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """A fresh optimizer, with the moments of another run where they were given."""
        optimizer = super().create_optimizer(model)
        if self._moments is not None:
            values = optimizer.state_dict()
            optimizer.load_state_dict({**values, "state": self._moments})
            self._moments = None
        return optimizer

    def begin_with_moments(self, file: Path) -> None:
        """Let the optimizer remember the gradients of a run that ended; rates start anew."""
        self._moments = torch.load(file, map_location="cpu", weights_only=True)

    def save_moments(self) -> None:
        """What the optimizer remembers of past gradients, beside the weights."""
        optimizer: Any = self.optimizer
        assert optimizer is not None, "the run has ended"
        aside = self._run / f".{MOMENTS}.writing"
        torch.save(optimizer.state_dict()["state"], aside)
        aside.replace(self._run / MOMENTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Weights that are whole, or an error that names the folder."""
        with reading(Path(resume_from_checkpoint)):
            if is_sharded(self.model):
                load_weights(self.model, Path(resume_from_checkpoint))
            else:
                super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Moments and schedule, read as numbers alone."""
        if checkpoint is None:
            return
        with reading(Path(checkpoint)):
            if self._in_parts:
                load_parts(self.model, self.optimizer, self.lr_scheduler, Path(checkpoint))
            else:
                super()._load_optimizer_and_scheduler(checkpoint)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """In one file, or in files of each process that holds a part."""
        if self._in_parts:
            save_parts(self.model, self.optimizer, self.lr_scheduler, Path(output_dir))
        else:
            super()._save_optimizer_and_scheduler(output_dir)

    def load_objective_state(self, checkpoint: Path) -> None:
        """Take up running scalars, heads and a moving reference as the checkpoint has them."""
        if self._moving is not None:
            self._moving.load(checkpoint)
        if self._runner.heads is not None:
            self._runner.heads.load(checkpoint)
        values = json.loads((checkpoint / OBJECTIVE_STATE).read_text(encoding="utf-8"))
        self._objective_state = State(values)
