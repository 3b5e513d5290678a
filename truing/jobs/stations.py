"""The stations of a training run that hold a model: policy, engine, references, trainer, scores."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from truing.config import RunConfig
from truing.core.progress import SILENT, Progress
from truing.data import Example, widest
from truing.engine import LOGPS_ONLY, Engine, Wanted, choose_engine, ranks
from truing.engine.logps import LiveReference
from truing.engine.memory import give_back_freed_memory
from truing.engine.models import Numerics
from truing.errors import ConfigError, FitError
from truing.evaluation.pairs import evaluate_pairs
from truing.jobs.drift import kl_numbers
from truing.jobs.material import RunMaterial
from truing.jobs.policy import (
    autocast,
    is_other_than_on_disk,
    keep_base,
    load_start,
)
from truing.jobs.run_references import RunReferences
from truing.jobs.samples import asked
from truing.jobs.scoring import Scorer
from truing.jobs.texts import text_numbers
from truing.references.join import Rows
from truing.references.moving import MovingReference
from truing.references.policies import Moving, PolicyStart, each
from truing.responses import Response
from truing.training.arguments import training_arguments, with_adapters
from truing.training.best import MEASURES
from truing.training.execute import StepRunner
from truing.training.heads import ScalarHeads, put_heads
from truing.training.material import Material
from truing.training.sharding import shard
from truing.training.trainer import PreferenceTrainer

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

    @property
    def room(self) -> int:
        """Tokens of a prompt and what is said to it: that the model reads, and a pass holds."""
        return min(self.material.reader.max_length, self.config.tokens_per_device)


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
    if is_other_than_on_disk(model, config.model):
        keep_base(model, Path(config.output))
    torch.manual_seed(config.seed)
    return with_adapters(model, **config.lora.model_dump())


def _arguments(at: Station) -> TrainingArguments:
    config = at.config
    best = config.evaluation.best
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
        best=None if best is None else (best, MEASURES[best]),
        given=config.trainer,
        own=config.model_dump(mode="json", exclude={"trainer"}),
    )


@dataclass
class Stations:
    """A run's models in the order of the way of the data; the policy is loaded, the engine proved.

    Args:
        at: what every station knows.
        arguments: the Trainer's.
        model: the policy.
        engine: exact on the policy.
        engine_name: its value of the key `engine`.
        references: what they say; those that are other models have been read.
        notes: sentences on what was decided for the user.
    """

    at: Station
    arguments: TrainingArguments
    model: Any
    engine: Engine
    engine_name: str
    references: RunReferences
    notes: tuple[str, ...]

    @classmethod
    def opened(cls, at: Station) -> "Stations":
        """Read the references that are other models, then load the policy and choose the engine.

        Raises:
            ConfigError: the `trainer` block names a field that there is not.
            ModelError: the policy cannot be loaded, or the engine asked for is not exact on it.
            FitError: a row is over the budget with the engine that the policy gets.
        """
        arguments = _arguments(at)
        references = RunReferences(at.config, at.material, at.numerics, at.progress)
        references.check()
        references.read_others()
        model = make_policy(at)
        model.eval()
        choice = choose_engine(
            at.config.engine,
            model,
            at.config.tokens_per_device,
            widest(at.material.examples),
            lambda: autocast(at.numerics),
        )
        try:
            at.material.refuse_unfit(choice.engine)
        except FitError as error:
            what = f"{error.what} ({choice.note})"
            raise FitError(what, where=error.where, fix=error.fix) from error
        give_back_freed_memory()
        notes = (*at.material.summary.notes, choice.note)
        return cls(at, arguments, model, choice.engine, choice.name, references, notes)

    def rows(self) -> tuple[Rows, Rows]:
        """Training and held-out rows with what the references say."""
        self.references.read_start(self.model, self.engine_name)
        return self.references.rows()

    @property
    def wanted(self) -> Wanted:
        """What the objective reads beside log-probs, with the live reference it may need."""
        needs = self.at.material.objective.needs
        live = self._reference_beside if needs.live_reference else None
        return Wanted(needs.prompt, needs.vocabulary_statistics, live, bool(needs.heads))

    def _live(self) -> Any:
        """Opens a block that yields the reference, for needs that read its whole distribution."""
        if self.moving is not None:
            return self.moving.opened
        if self.at.config.lora and self.references.is_start:

            @contextmanager
            def adapters_off() -> Iterator[Any]:
                with self.model.disable_adapter():
                    yield self.model

            return adapters_off
        reference = self.references.beside(self.at.num_tokens)
        return lambda: nullcontext(reference)

    def trainer(self, rows: Rows, held: Rows, *, is_fresh: bool) -> PreferenceTrainer:
        """The trainer with its material; `is_fresh` where the weights are the start's."""
        config, material = self.at.config, self.at.material
        wanted, moving = self.wanted, self.moving
        heads = self._heads()  # after the moving reference: heads are no part of it
        in_parts = bool(config.trainer.get("fsdp"))
        if in_parts:
            _refuse_beside_shards(heads, moving, config.auxiliary)
        # One process that goes on with what several began holds all of it.
        if in_parts and (is_fresh or ranks.world() > 1):
            shard(self.model)
        return PreferenceTrainer(
            model=self.model,
            args=self.arguments,
            processing_class=material.reader.tokenizer,
            # The rows come from `evaluator`; the Trainer only wants to see that there are some.
            eval_dataset=material.held or None,  # type: ignore[arg-type]
            runner=StepRunner(
                material.objective,
                self.engine,
                wanted,
                heads,
                None if moving is None else moving.opened,
            ),
            material=Material(
                rows,
                {name: Rows(examples) for name, examples in material.auxiliary.items()},
                config.pairs_per_step,
                config.shuffle,
                self._start_tolerance() if is_fresh else None,
                self.references.judged if is_fresh else {},
                len(each(material.reference)),
            ),
            moving=moving,
            in_parts=in_parts,
            evaluator=lambda policy: _numbers(self.evaluation(policy, held, progress=SILENT)),
            kl_limit=config.checks.kl,
            out_of_memory=config.checks.memory,
            say=self.at.progress.note,
        )

    @cached_property
    def moving(self) -> MovingReference | None:
        """The reference that follows the policy; made before the first step."""
        return self.references.moving(self.model)

    def _heads(self) -> ScalarHeads | None:
        needs = self.at.material.objective.needs
        width = self.model.config.get_text_config().hidden_size
        return put_heads(self.model, needs.heads, needs.attached_heads, width)

    @property
    def sample_rows(self) -> Sequence[Example]:
        """Held-out rows whose prompts are asked: the first of each prompt that leaves room."""
        room = self.at.room // 2
        by_prompt = {
            row.prompt.tobytes(): row
            for row in reversed(self.at.material.held)
            if len(row.prompt) <= room
        }
        return list(by_prompt.values())[::-1][: self.at.config.num_samples]

    def sampled(self, description: str) -> list[Response]:
        """What the policy says now to the held-out prompts that are asked."""
        with autocast(self.at.numerics):
            return self._asked(self.model, self.sample_rows, self.at.progress, description)

    def _asked(
        self, policy: Any, rows: Sequence[Example], progress: Progress, description: str
    ) -> list[Response]:
        return asked(
            policy,
            self.at.material.reader.tokenizer,
            rows,
            room=self.at.room,
            seed=self.at.config.seed,
            progress=progress,
            description=description,
        )

    def _start_tolerance(self) -> float | None:
        """How far from 0 the log-ratios may be at step 0; None: nothing to check."""
        references = each(self.at.material.reference)
        applies = (
            self.at.config.checks.start
            and self.at.material.objective.needs.reference != "none"
            and isinstance(references[0], PolicyStart | Moving)
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
            return {**evaluate_pairs(table).to_json(), **self._drift(policy)}

    def _drift(self, policy: Any) -> Mapping[str, Any]:
        """KL to the reference over what the policy says; empty where nobody asked for it."""
        if self.at.config.checks.kl is None:
            return {}
        rows = self.sample_rows
        said = self._asked(policy, rows, SILENT, "KL to the reference")
        return kl_numbers(policy, self._reference_beside, self.engine, rows, said)

    @cached_property
    def _reference_beside(self) -> LiveReference:
        return self._live()


def _refuse_beside_shards(
    heads: ScalarHeads | None, moving: MovingReference | None, auxiliary: Mapping[str, str]
) -> None:
    """What reads whole weights beside the model's own forward, or takes passes of its own."""
    found = {
        "scalar heads": heads,
        "a moving reference": moving,
        "an auxiliary source": auxiliary or None,
    }
    for name, value in found.items():
        if value is not None:
            raise ConfigError(
                f"{name} cannot be had with sharded weights",
                where="trainer.fsdp",
                fix="leave trainer.fsdp out, or take another objective or reference",
            )


def _numbers(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """The scalars of an evaluation, for logs and early stopping."""
    return {
        key: float(value) for key, value in evaluation.items() if isinstance(value, int | float)
    }
