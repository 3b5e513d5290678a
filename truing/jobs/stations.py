"""The stations of a training run that hold a model: policy, engine, references, trainer, scores."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainingArguments

from truing.config import RunConfig
from truing.core.progress import SILENT, Progress
from truing.data import Example
from truing.engine import LOGPS_ONLY, Engine, Wanted, choose_engine
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
from truing.jobs.samples import asked
from truing.jobs.scoring import Scorer
from truing.jobs.texts import text_numbers
from truing.references.fill import fill, fill_unconditional
from truing.references.join import Rows
from truing.references.policies import OtherModel, PolicyStart, each
from truing.responses import Response
from truing.training.arguments import training_arguments, with_adapters
from truing.training.execute import StepRunner
from truing.training.heads import ScalarHeads, put_heads
from truing.training.trainer import Material, PreferenceTrainer

# Mean absolute token log-ratio (nats) that rounding alone may show at step 0, in float32.
START_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Station:
    """What every station of a run knows."""

    config: RunConfig
    material: RunMaterial
    numerics: Numerics
    progress: Progress

    @property
    def num_tokens(self) -> int:
        """Tokens that the tokenizer can give."""
        return len(self.material.reader.tokenizer)


def make_policy(at: Station) -> Any:
    """The model to train, with fresh adapters where LoRA is asked for.

    Raises:
        ModelError: it cannot be loaded.
        ConfigError: the adapters fit no module.
    """
    config = at.config
    model = load_start(config.model, config, at.num_tokens, at.numerics)
    if config.lora is None:
        return model
    if is_grown(model, config.model):
        keep_grown_base(model, Path(config.output))
    torch.manual_seed(config.seed)
    return with_adapters(model, **config.lora.model_dump())


def _arguments(at: Station) -> TrainingArguments:
    config = at.config
    return training_arguments(
        output=config.output,
        seed=config.seed,
        learning_rate=config.rate,
        epochs=config.epochs,
        rows_per_step=config.pairs_per_step,
        num_rows=len(at.material.examples),
        autocast=at.numerics.autocast,
        deterministic=config.deterministic,
        evaluate_every=config.evaluation.every,
        given=config.trainer,
    )


@dataclass
class Stations:
    """A run's models in the order of the way of the data; the policy is loaded, the engine proved.

    Args:
        at: what every station knows.
        arguments: the Trainer's.
        model: the policy.
        engine: exact on the policy.
        notes: sentences on what was decided for the user.
    """

    at: Station
    arguments: TrainingArguments
    model: Any
    engine: Engine
    notes: tuple[str, ...]

    @classmethod
    def opened(cls, at: Station) -> "Stations":
        """Load the policy and choose the engine.

        Raises:
            ConfigError: the `trainer` block names a field that there is not.
            ModelError: the policy cannot be loaded, or the engine asked for is not exact on it.
        """
        arguments = _arguments(at)
        model = make_policy(at)
        model.eval()
        choice = choose_engine(
            at.config.engine,
            model,
            at.config.tokens_per_device,
            at.material.examples[:8],
            lambda: autocast(at.numerics),
        )
        return cls(at, arguments, model, choice.engine, (*at.material.summary.notes, choice.note))

    def rows(self) -> tuple[Rows, Rows]:
        """Training and held-out rows with what the references say; their models are dropped."""
        material = self.at.material
        needs = material.objective.needs
        references = each(material.reference)
        has_partner = needs.mismatched_responses
        train: list[list[np.ndarray]] = []
        held: list[list[np.ndarray]] = []
        alone = None
        for number, reference in enumerate(references):
            with self._reference(reference) as (model, engine), autocast(self.at.numerics):
                of = "" if len(references) == 1 else f" {number + 1}"
                if needs.reference != "none":
                    train.append(self._fill(model, engine, material.examples, f"reference{of}"))
                if material.held:
                    held.append(
                        self._fill(model, engine, material.held, f"reference{of}, held out")
                    )
                if needs.unconditional_reference and number == 0:
                    begin = _begin_token(material.reader.tokenizer)
                    alone = fill_unconditional(
                        model, material.examples, begin, engine, self.at.progress
                    )
        return Rows(material.examples, train, alone, has_partner), Rows(material.held, held)

    @contextmanager
    def _reference(self, reference: PolicyStart | OtherModel) -> Iterator[tuple[Any, Engine]]:
        """The reference's model and an engine that is exact on it."""
        if isinstance(reference, PolicyStart):
            # The base under fresh adapters is the start: no second copy in memory.
            off: AbstractContextManager[Any] = (
                self.model.disable_adapter() if self.at.config.lora else nullcontext()
            )
            with off:
                yield self.model, self.engine
            return
        other = load_reference(reference, self.at.config, self.at.num_tokens, self.at.numerics)
        choice = choose_engine(
            "auto", other, self.at.config.tokens_per_device, (), lambda: autocast(self.at.numerics)
        )
        yield other, choice.engine

    def _fill(
        self, model: Any, engine: Engine, rows: Sequence[Example], description: str
    ) -> list[np.ndarray]:
        model.eval()
        return fill(model, rows, engine, self.at.progress, description)

    @property
    def wanted(self) -> Wanted:
        """What the objective reads beside log-probs, with the live reference it may need."""
        needs = self.at.material.objective.needs
        live = self._live() if needs.live_reference else None
        return Wanted(needs.prompt, needs.vocabulary_statistics, live, bool(needs.heads))

    def _live(self) -> Any:
        """Opens a block that yields the reference, for needs that read its whole distribution."""
        if self.at.config.lora:

            @contextmanager
            def adapters_off() -> Iterator[Any]:
                with self.model.disable_adapter():
                    yield self.model

            return adapters_off
        config = self.at.config
        reference = load_reference(
            each(self.at.material.reference)[0], config, self.at.num_tokens, self.at.numerics
        )
        return lambda: nullcontext(reference)

    def trainer(self, rows: Rows, held: Rows, *, is_fresh: bool) -> PreferenceTrainer:
        """The trainer with its material; `is_fresh` where the weights are the start's."""
        config, material = self.at.config, self.at.material
        wanted = self.wanted
        return PreferenceTrainer(
            model=self.model,
            args=self.arguments,
            processing_class=material.reader.tokenizer,
            # The rows come from `evaluator`; the Trainer only wants to see that there are some.
            eval_dataset=material.held or None,  # type: ignore[arg-type]
            runner=StepRunner(material.objective, self.engine, wanted, self._heads()),
            material=Material(
                rows,
                {name: Rows(examples) for name, examples in material.auxiliary.items()},
                config.pairs_per_step,
                config.shuffle,
                self._start_tolerance() if is_fresh else None,
            ),
            evaluator=lambda policy: _numbers(self.evaluation(policy, held, progress=SILENT)),
        )

    def _heads(self) -> ScalarHeads | None:
        needs = self.at.material.objective.needs
        width = self.model.config.get_text_config().hidden_size
        return put_heads(self.model, needs.heads, needs.attached_heads, width)

    @property
    def sample_rows(self) -> Sequence[Example]:
        """Held-out rows whose prompts are asked: the first of each prompt that leaves room."""
        room = self.at.material.reader.max_length // 2
        by_prompt = {
            row.prompt.tobytes(): row
            for row in reversed(self.at.material.held)
            if len(row.prompt) <= room
        }
        return list(by_prompt.values())[::-1][: self.at.config.num_samples]

    def sampled(self, description: str) -> list[Response]:
        """What the policy says now to the held-out prompts that are asked."""
        with autocast(self.at.numerics):
            return asked(
                self.model,
                self.at.material.reader.tokenizer,
                self.sample_rows,
                room=self.at.material.reader.max_length,
                seed=self.at.config.seed,
                progress=self.at.progress,
                description=description,
            )

    def _start_tolerance(self) -> float | None:
        """How far from 0 the log-ratios may be at step 0; None: nothing to check."""
        references = each(self.at.material.reference)
        applies = (
            self.at.config.checks.start
            and self.at.material.objective.needs.reference != "none"
            and isinstance(references[0], PolicyStart)
        )
        if not applies:
            return None
        if self.at.numerics.autocast is None:
            return START_TOLERANCE
        # The casting's own error on real rows is what another batching may add.
        rows = self.at.material.examples[:2]
        with torch.no_grad():
            exact = self.engine.logps(self.model, rows, LOGPS_ONLY).logps
            with autocast(self.at.numerics):
                cast = self.engine.logps(self.model, rows, LOGPS_ONLY).logps
        return max(START_TOLERANCE, float((exact - cast).abs().mean()))

    def evaluation(
        self, policy: Any, held: Rows, *, progress: Progress | None = None
    ) -> Mapping[str, Any]:
        """Numbers on the held-out rows; empty without any."""
        if not len(held):
            return {}
        shown = progress or self.at.progress
        with autocast(self.at.numerics):
            if self.at.config.texts:
                return text_numbers(policy, self.engine, held, shown)
            scorer = Scorer(self.at.material.objective, self.engine, self.wanted)
            table = scorer.table(policy, held, shown)
        return evaluate_pairs(table).to_json()


def _numbers(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """The scalars of an evaluation, for logs and early stopping."""
    return {
        key: float(value) for key, value in evaluation.items() if isinstance(value, int | float)
    }


def _begin_token(tokenizer: Any) -> int:
    """What stands where a prompt would be: the begin token, or the end token without one."""
    begin = tokenizer.bos_token_id
    return int(tokenizer.eos_token_id if begin is None else begin)
