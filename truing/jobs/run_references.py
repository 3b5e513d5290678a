"""The references of a training run, in the order that keeps one model in memory at a time."""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from peft import PeftModel

from truing.config import RunConfig
from truing.core.progress import Progress
from truing.engine.adapters import base_of
from truing.engine.models import Numerics, load_config
from truing.errors import ConfigError, NeedsError
from truing.jobs.material import RunMaterial, sources_of
from truing.jobs.policy import load_start
from truing.jobs.reference_pass import ReferencePass, RowSet, Said
from truing.references.join import Rows
from truing.references.moving import MovingReference
from truing.references.policies import (
    Frozen,
    OtherModel,
    PolicyStart,
    Unconditional,
    model_of,
    moving_of,
    standing,
)
from truing.references.stored import Compared, Filled, in_bytes
from truing.references.weights import model_files


@dataclass
class RunReferences:
    """What the references of a run say of its rows.

    Other models are read before the policy is loaded, each dropped before the next; the policy's
    own start is read when the policy is there. Held-out rows are always held against references
    that stand still: a moving one is its start there, so that evaluations can be compared.

    Args:
        config: of the run.
        material: its rows, objective and reference.
        numerics: in which it computes.
        progress: shows the work.
    """

    config: RunConfig
    material: RunMaterial
    numerics: Numerics
    progress: Progress
    _said: dict[tuple[int, str], list[Said]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.passes = ReferencePass(
            self.config,
            self.material.reader,
            self.material.objective.needs,
            self.numerics,
            self.progress,
            self.config.checks.references,
        )

    # ------------------------------------------------------------------ what is asked of whom
    @property
    def _standing(self) -> list[Frozen]:
        return standing(self.material.reference)

    @property
    def _moves(self) -> int | None:
        found = moving_of(self.material.reference)
        return None if found is None else found[0]

    @property
    def _own_rows(self) -> RowSet:
        """The run's rows; what was malformed has been written out, or there would be no rows."""
        material = self.material
        return RowSet(
            material.examples,
            sources_of(self.config),
            skips_bad=material.summary.malformed.count > 0,
            is_shortened=material.summary.shortened.count > 0,
        )

    def _sets(self, number: int) -> list[RowSet]:
        """Rows on which a reference is read: held-out ones, the run's where it is needed."""
        material, found = self.material, []
        if material.objective.needs.reference != "none" and number != self._moves:
            found.append(self._own_rows)
        return [*found, *self._held_rows]

    @property
    def _held_rows(self) -> list[RowSet]:
        """The held-out rows; none where there are none."""
        material = self.material
        if not material.held:
            return []
        summary = material.held_summary
        is_shortened = summary is not None and summary.shortened.count > 0
        data = self.config.evaluation.data
        return [RowSet(material.held, data, ", held out", is_shortened=is_shortened)]

    @property
    def _sets_alone(self) -> list[RowSet]:
        """Rows on which a reference is read without the prompt."""
        return [self._own_rows, *self._held_rows]

    def _name(self, number: int) -> str:
        return "reference" if len(self._standing) == 1 else f"reference {number + 1}"

    def check(self) -> None:
        """Refuse what cannot be, before any model loads.

        Raises:
            NeedsError: another tokenizer gives sums, and more than sums is needed.
            ConfigError: a reference that would follow the policy after the last step only.
        """
        if self._moves is not None and any(map(self.passes.has_own_tokens, self._standing)):
            raise NeedsError(
                "a reference that moves gives token log-probs, one of another tokenizer gives sums",
                where=repr(self.material.reference),
                fix="use references that read the policy's tokens beside it",
            )
        self._refuse_unmoved()
        sets = [rows for number in range(len(self._standing)) for rows in self._sets(number)]
        self.passes.check(self._standing, sets)

    def _refuse_unmoved(self) -> None:
        found = moving_of(self.material.reference)
        if found is None:
            return
        config, rows = self.config, len(self.material.examples)
        steps = math.ceil(config.epochs * math.ceil(rows / config.pairs_per_step))
        steps = max(0, int(config.trainer.get("max_steps", 0))) or steps
        if found[1].every >= steps:
            raise ConfigError(
                f"{found[1]!r} has no effect: the run has {steps} step{'s' * (steps != 1)}, so it "
                "would stay where it starts",
                where="reference",
                fix="take a smaller `every`, train longer, or use policy_start()",
            )

    # ------------------------------------------------------------------ reading
    def read_others(self) -> None:
        """Read every model that is not the policy.

        Raises:
            ModelError: one of them is not there; said before the first is read.
        """
        for other in map(model_of, self._standing):
            if isinstance(other, OtherModel):
                model_files(other.path, other.revision)
        self._read_others()
        self.passes.forget_texts()

    def _read_others(self) -> None:
        for number, reference in enumerate(self._standing):
            if isinstance(model_of(reference), OtherModel):
                sets = self._sets(number)
                if sets:
                    self._said[number, ""] = self.passes.of_other(
                        reference, sets, self._name(number)
                    )
                if self._needs_alone(number):
                    alone = Unconditional(model_of(reference))
                    name = f"{self._name(number)}, no prompt"
                    self._said[number, "alone"] = self.passes.of_other(
                        alone, self._sets_alone, name
                    )

    def _needs_alone(self, number: int) -> bool:
        return self.material.objective.needs.unconditional_reference and number == 0

    def read_start(self, model: Any, kind: str) -> None:
        """Read the policy as it is now, before its first step; its adapters are off.

        Args:
            model: the policy.
            kind: name of the engine that is exact on it.
        """
        numbers = self._start_numbers
        if not numbers:
            return
        model.eval()
        # The base under fresh adapters is the start: no second copy in memory.
        off: AbstractContextManager[Any] = (
            model.disable_adapter() if isinstance(model, PeftModel) else nullcontext()
        )
        with off:
            source = self.passes.source(
                model, kind, PolicyStart(), grown=grown_rows(model, self.config.model)
            )
            tokenizer = self.material.reader.tokenizer
            for i in numbers:
                self._said[i, ""] = [
                    self.passes.said(
                        source,
                        self._standing[i],
                        rows.examples,
                        tokenizer,
                        self._name(i) + rows.name,
                    )
                    for rows in self._sets(i)
                ]
                if self._needs_alone(i):
                    name = f"{self._name(i)}, no prompt"
                    alone = Unconditional()
                    self._said[i, "alone"] = [
                        self.passes.said(source, alone, rows.examples, tokenizer, name + rows.name)
                        for rows in self._sets_alone
                    ]

    # ------------------------------------------------------------------ what was said
    @property
    def compared(self) -> Mapping[str, Compared]:
        """How stored values compare with what each model says now, where that was asked for."""
        return self.passes.compared

    @property
    def needs_start(self) -> bool:
        """Whether the policy's own start is read."""
        return bool(self._start_numbers)

    @property
    def _start_numbers(self) -> list[int]:
        """References that are the policy's start and are asked something."""
        return [
            number
            for number, one in enumerate(self._standing)
            if isinstance(model_of(one), PolicyStart)
            and (self._sets(number) or self._needs_alone(number))
        ]

    @property
    def filled(self) -> list[Filled]:
        """What each reading cost."""
        return [one.filled for said in self._said.values() for one in said]

    def rows(self) -> tuple[Rows, Rows]:
        """Training and held-out rows with everything that was read."""
        material = self.material
        is_read = material.objective.needs.reference != "none"
        train: list[Said | None] = []
        held: list[Said | None] = []
        for number in range(len(self._standing)):
            said = list(self._said.get((number, ""), []))
            if is_read:
                train.append(None if number == self._moves else said.pop(0))
            if material.held:
                held.append(said.pop(0))
        alone = [one.sums for one in self._said.get((0, "alone"), [])]
        return (
            rows_with(
                material.examples,
                train,
                unconditional=alone[0] if alone else None,
                has_partner=material.objective.needs.mismatched_responses,
            ),
            rows_with(material.held, held, unconditional=alone[1] if len(alone) > 1 else None),
        )

    @property
    def judged(self) -> Mapping[int, str]:
        """Models other than the policy that read the prompt, by number, as they are written."""
        if self.material.objective.needs.reference == "none":
            return {}
        return {i: repr(one) for i, one in enumerate(self._standing) if isinstance(one, OtherModel)}

    @property
    def is_start(self) -> bool:
        """Whether the first reference is the policy's start, or there is none."""
        return isinstance((self._standing or [PolicyStart()])[0], PolicyStart)

    def beside(self, num_tokens: int) -> Any:
        """The first reference as a model that stays in memory, said with its size."""
        first = model_of((self._standing or [PolicyStart()])[0])
        if isinstance(first, OtherModel):
            model = self.passes.loaded(first)
        else:
            model = load_start(self.config.model, self.config, num_tokens, self.numerics)
        size = sum(p.numel() * p.element_size() for p in model.parameters())
        self.progress.note(
            f"reference {first!r}: the whole distribution is read, so it stays in memory "
            f"({in_bytes(size)}) and runs at every step"
        )
        return model

    def moving(self, model: Any) -> MovingReference | None:
        """The reference that follows the policy, said with its memory; None where none does."""
        found = moving_of(self.material.reference)
        if found is None:
            return None
        moving = MovingReference(found[1], model, has_adapters=self.config.lora is not None)
        what = "adapters" if self.config.lora else "weights"
        self.progress.note(
            f"reference {found[1]!r}: it follows the policy, so it stays in memory (a second copy "
            f"of the {what}, {in_bytes(moving.bytes)}) and runs at every step"
        )
        return moving


def grown_rows(model: Any, path: str) -> int:
    """Rows that a model's embedding got, for a tokenizer's new tokens, over what lies at `path`."""
    on_disk = load_config(base_of(path)).get_text_config().vocab_size
    return max(0, model.config.get_text_config().vocab_size - on_disk)


def rows_with(examples: Sequence[Any], said: Sequence[Said | None], **others: Any) -> Rows:
    """Rows with token log-probs where every reference has them, else with sums for all.

    Args:
        examples: the rows.
        said: what each reference said of them; None for one that moves.
        others: further fields of `Rows`.
    """
    known = [one for one in said if one is not None]
    if any(one.tokens is None for one in known):
        return Rows(examples, reference_sums=[one.sums for one in known], **others)
    return Rows(examples, [None if one is None else one.tokens for one in said], **others)
