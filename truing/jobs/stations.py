"""The stations of a training run that hold a model: policy, references, trainer, evaluation."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from truing.config import RunConfig
from truing.core.progress import SILENT, Progress
from truing.engine import LOGPS_ONLY, Wanted
from truing.engine.models import Numerics
from truing.evaluation.pairs import evaluate_pairs
from truing.jobs.material import RunMaterial
from truing.jobs.policy import (
    autocast,
    is_grown,
    keep_grown_base,
    load_reference,
    load_start,
)
from truing.jobs.scoring import Scorer
from truing.references.fill import fill
from truing.references.policies import NoReference, PolicyStart
from truing.training.arguments import training_arguments, with_adapters
from truing.training.execute import StepRunner
from truing.training.trainer import Material, PreferenceTrainer

# Mean absolute token log-ratio (nats) that rounding alone may show at step 0, in float32.
START_TOLERANCE = 1e-4

Logps = Sequence[Sequence[np.ndarray]]


@dataclass(frozen=True)
class ReferenceLogps:
    """What each reference says of the training rows and of the held-out rows."""

    train: Logps
    held: Logps


@dataclass
class Stations:
    """One run's models, in the order of the way of the data."""

    config: RunConfig
    material: RunMaterial
    numerics: Numerics
    progress: Progress

    @property
    def _num_tokens(self) -> int:
        return len(self.material.reader.tokenizer)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what was decided for the user."""
        return tuple(self.material.summary.notes)

    def policy(self) -> Any:
        """The model to train, with fresh adapters where LoRA is asked for.

        Raises:
            ModelError: it cannot be loaded.
            ConfigError: the adapters fit no module.
        """
        config = self.config
        model = load_start(config.model, config, self._num_tokens, self.numerics)
        if config.lora is None:
            return model
        if is_grown(model, config.model):
            keep_grown_base(model, Path(config.output))
        torch.manual_seed(config.seed)
        return with_adapters(model, **config.lora.model_dump())

    def references(self, model: Any) -> ReferenceLogps:
        """Log-probs of the reference, computed once; a model of its own is dropped then."""
        reference = self.material.reference
        held_rows = self.material.held
        if isinstance(reference, NoReference):
            return ReferenceLogps((), ())
        needs_it = self.material.objective.needs.reference != "none"
        other, adapters_off = self._reference_model(model)
        with adapters_off, autocast(self.numerics):
            train = [self._fill(other, self.material.examples, "reference")] if needs_it else []
            held = [self._fill(other, held_rows, "reference, held out")] if held_rows else []
        return ReferenceLogps(train, held)

    def _reference_model(self, model: Any) -> tuple[Any, AbstractContextManager[Any]]:
        if isinstance(self.material.reference, PolicyStart):
            # The base under fresh adapters is the start: no second copy in memory.
            return model, model.disable_adapter() if self.config.lora else nullcontext()
        other = load_reference(
            self.material.reference, self.config, self._num_tokens, self.numerics
        )
        return other, nullcontext()

    def _fill(self, model: Any, rows: Sequence[Any], description: str) -> list[np.ndarray]:
        model.eval()
        return fill(model, rows, self.material.engine, self.progress, description)

    def trainer(
        self, model: Any, references: ReferenceLogps, *, is_fresh: bool
    ) -> PreferenceTrainer:
        """The trainer with its material; `is_fresh` where the weights are the start's."""
        config, material = self.config, self.material
        needs = material.objective.needs
        runner = StepRunner(
            material.objective,
            material.engine,
            Wanted(prompt=needs.prompt, statistics=needs.vocabulary_statistics),
        )
        return PreferenceTrainer(
            model=model,
            args=training_arguments(
                output=config.output,
                seed=config.seed,
                learning_rate=config.rate,
                epochs=config.epochs,
                rows_per_step=config.pairs_per_step,
                num_rows=len(material.examples),
                autocast=self.numerics.autocast,
                deterministic=config.deterministic,
                evaluate_every=config.evaluation.every,
                given=config.trainer,
            ),
            processing_class=material.reader.tokenizer,
            # The rows come from `evaluator`; the Trainer only wants to see that there are some.
            eval_dataset=material.held or None,  # type: ignore[arg-type]
            runner=runner,
            material=Material(
                material.examples,
                references.train,
                config.pairs_per_step,
                config.shuffle,
                self._start_tolerance(model) if is_fresh else None,
            ),
            evaluator=lambda policy: _numbers(
                self.evaluation(policy, references.held, progress=SILENT)
            ),
        )

    def _start_tolerance(self, model: Any) -> float | None:
        """How far from 0 the log-ratios may be at step 0; None: nothing to check."""
        applies = (
            self.config.checks.start
            and isinstance(self.material.reference, PolicyStart)
            and self.material.objective.needs.reference != "none"
        )
        if not applies:
            return None
        if self.numerics.autocast is None:
            return START_TOLERANCE
        # The casting's own error on real rows is what another batching may add.
        rows = self.material.examples[:2]
        with torch.no_grad():
            exact = self.material.engine.logps(model, rows, LOGPS_ONLY).logps
            with autocast(self.numerics):
                cast = self.material.engine.logps(model, rows, LOGPS_ONLY).logps
        return max(START_TOLERANCE, float((exact - cast).abs().mean()))

    def evaluation(
        self, policy: Any, held: Logps, *, progress: Progress | None = None
    ) -> Mapping[str, Any]:
        """Numbers on the held-out rows; empty without any."""
        if not self.material.held:
            return {}
        scorer = Scorer(self.material.objective, self.material.engine)
        with autocast(self.numerics):
            table = scorer.table(policy, self.material.held, held, progress or self.progress)
        return evaluate_pairs(table).to_json()


def _numbers(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """The scalars of an evaluation, for logs and early stopping."""
    return {
        key: float(value) for key, value in evaluation.items() if isinstance(value, int | float)
    }
