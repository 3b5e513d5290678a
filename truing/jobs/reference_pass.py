"""The references of a run: each model opened once, what it says stored, the model dropped."""

import gc
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from truing.config import RunConfig
from truing.core import Needs
from truing.core.progress import Progress
from truing.data import Example
from truing.data.cache import recalled, remember
from truing.engine import TokenRow, choose_engine
from truing.engine.adapters import base_of
from truing.engine.frozen import load_frozen
from truing.engine.models import (
    Numerics,
    grow_embedding,
    load_config,
    load_tokenizer,
    max_positions,
)
from truing.engine.steady import Alone, SteadyChoice, choose_steady
from truing.errors import ModelError, NeedsError, RowError
from truing.jobs.material import Reader
from truing.jobs.policy import autocast
from truing.references.fitting import refuse_other_tokens
from truing.references.keys import ModelKey
from truing.references.policies import (
    Frozen,
    Moving,
    One,
    OtherModel,
    PolicyStart,
    Unconditional,
    model_of,
)
from truing.references.stored import Compared, Filled, Source, compared, in_bytes, stored_values
from truing.references.texts import means_the_same, response_sums, same_rows
from truing.references.weights import weights_hash


@dataclass(frozen=True)
class RowSet:
    """Rows of a run.

    Args:
        examples: in the policy's tokens.
        source: where they were read, to be read again by another tokenizer.
        name: what they are called beside the main rows; "".
        skips_bad: malformed rows of the source were written out, and are passed over again.
        is_shortened: some prompt or response was cut at the length limit.
    """

    examples: Sequence[Example]
    source: Any
    name: str = ""
    skips_bad: bool = False
    is_shortened: bool = False


@dataclass(frozen=True)
class Said:
    """What one reference says of one set of rows.

    Args:
        examples: in the tokens that were scored.
        filled: the log-probs, and what they cost.
        has_policys_tokens: the tokens are those of the policy.
    """

    examples: Sequence[Example]
    filled: Filled
    has_policys_tokens: bool = True

    @property
    def tokens(self) -> Sequence[np.ndarray] | None:
        """One array of token log-probs a row; None where its tokens are not the policy's."""
        return self.filled.values if self.has_policys_tokens else None

    @cached_property
    def sums(self) -> Sequence[np.ndarray]:
        """One array a row, (K,) nats."""
        return response_sums(self.filled.values, self.examples)


@dataclass
class ReferencePass:
    """Scores rows under references that stand still, through the store.

    Args:
        config: of the run.
        reader: with the policy's tokenizer.
        needs: of the objective.
        numerics: of the run.
        progress: shows the work.
        verifies: a few stored values are computed again before the others are believed.
        notes: what was said of each reading.
        compares: only compare so many stored responses with what the model says now.
        compared: what came of that, by what the reference is called.
    """

    config: RunConfig
    reader: Reader
    needs: Needs
    numerics: Numerics
    progress: Progress
    verifies: bool = True
    notes: list[str] = field(default_factory=list)
    compares: int = 0
    compared: dict[str, Compared] = field(default_factory=dict)
    _texts: dict[tuple[OtherModel, str], Sequence[Example]] = field(default_factory=dict)

    # ------------------------------------------------------------------ what it reads
    def check(self, references: Sequence[One], sets: Sequence[RowSet]) -> None:
        """Refuse what a tokenizer makes impossible, before any model loads.

        Raises:
            NeedsError: see `refuse_other_tokens`; a row that a reference cannot read.
            ModelError: a reference's tokenizer cannot be loaded.
        """
        for reference in references:
            own = None if isinstance(reference, Moving) else self._own_tokenizer(reference)
            if own is None or isinstance(reference, Moving):
                continue
            other = model_of(reference)
            assert isinstance(other, OtherModel)
            # A response that is read without its prompt is whole where the prompt alone was cut.
            sees_prompt = not isinstance(reference, Unconditional)
            refuse_other_tokens(
                other,
                self.needs,
                is_cut=any(_is_cut(rows, with_prompts=sees_prompt) for rows in sets),
                objective=self.config.objective,
            )
            for rows in sets:
                self._rows_of(rows, own, reference)

    def has_own_tokens(self, reference: Frozen) -> bool:
        """Whether the reference reads the text in tokens that are not the policy's."""
        return self._own_tokenizer(reference) is not None

    def _own_tokenizer(self, reference: Frozen) -> Any:
        """The reference's tokenizer, where its ids are not the policy's; else None."""
        other = model_of(reference)
        if isinstance(other, PolicyStart) or other.tokenizer == "policy":
            return None
        try:
            own = load_tokenizer(other.path, other.revision)
        except ModelError:
            if other.tokenizer == "own":
                raise
            return None  # weights alone: they read what the policy reads
        is_same = means_the_same(self.reader.tokenizer, own)
        return None if is_same and other.tokenizer == "auto" else own

    def _rows_of(self, rows: RowSet, own: Any, reference: Frozen) -> Sequence[Example]:
        """The rows in the reference's own tokens, under its own template and end token."""
        other = model_of(reference)
        assert isinstance(other, OtherModel)
        known = self._texts.get((other, rows.name))
        if known is not None:
            return known
        model_config = load_config(base_of(other.path), other.revision)
        reader = replace(
            self.reader,
            config=self.config.model_copy(update={"truncation": "drop"}),
            tokenizer=own,
            max_length=max_positions(model_config, own),
        )
        aside = os.devnull if rows.skips_bad else None  # they have been written out and counted
        try:
            found = reader.read(rows.source, Needs(), self.progress, skip_bad=aside).examples
        except RowError as error:
            raise NeedsError(
                f"the rows cannot be read by the reference {reference!r}: {error.what}",
                where=error.where,
                fix="leave such rows out (a smaller max_length), or use another reference",
            ) from error
        self._texts[other, rows.name] = same_rows(rows.examples, found, repr(reference))
        return self._texts[other, rows.name]

    def forget_texts(self) -> None:
        """Let go of rows in tokens of references that have been read."""
        self._texts.clear()

    # ------------------------------------------------------------------ models
    def loaded(self, reference: OtherModel, *, grows: bool = True) -> Any:
        """Another model by itself; the caller drops it.

        Args:
            reference: which.
            grows: make room for the tokenizer's new tokens.
        """
        model = load_frozen(
            reference.path,
            self._numerics(reference),
            revision=reference.revision,
            quantisation=reference.quantisation,
            offload=reference.offload,
        )
        if grows:
            grow_embedding(model, len(self.reader.tokenizer), self.config.seed)
        return model

    @contextmanager
    def other(self, reference: OtherModel, *, grows: bool = True) -> Iterator[Source]:
        """Another model, loaded for the block."""
        numerics = self._numerics(reference)
        model = self.loaded(reference, grows=False)
        tokens = len(self.reader.tokenizer)
        grown = grow_embedding(model, tokens, self.config.seed) if grows else 0
        kind = choose_engine(
            "auto", model, self.config.tokens_per_device, (), lambda: autocast(numerics)
        ).name
        yield self.source(model, kind, reference, numerics, grown=grown)

    def source(
        self,
        model: Any,
        kind: str,
        reference: PolicyStart | OtherModel,
        numerics: Numerics | None = None,
        *,
        grown: int = 0,
    ) -> Source:
        """A model that is there as a source of stored values.

        Args:
            model: in evaluation mode.
            kind: name of the engine that is exact on it.
            reference: what it is.
            numerics: in which it computes; None: the run's.
            grown: rows that its embedding got for the tokenizer's new tokens.
        """
        numerics = numerics or self.numerics
        other = reference if isinstance(reference, OtherModel) else OtherModel(self.config.model)
        choice = self._steady(model, kind, other, numerics)

        def key(*, trusts_memory: bool = True) -> ModelKey:
            return ModelKey(
                weights_hash(other.path, other.revision, trusts_memory=trusts_memory),
                _in_words(numerics),
                other.quantisation,
                choice.name,
                grown=f"{grown} rows, seed {self.config.seed}" if grown else "",
            )

        return Source(
            model,
            choice.engine,
            other.path,
            key(),
            lambda: key(trusts_memory=False),
            lambda: autocast(numerics),
        )

    def _steady(self, model: Any, kind: str, other: OtherModel, numerics: Numerics) -> SteadyChoice:
        """How the model is read; what was proved once on this machine is not proved again."""
        facts = (
            weights_hash(other.path, other.revision),
            _in_words(numerics),
            other.quantisation,
            kind,
            torch.__version__,
            torch.get_num_threads(),
            torch.get_float32_matmul_precision(),
            platform.node(),
        )
        known = recalled("steady", repr(facts)).get("name", "")
        choice = choose_steady(kind, model, autocast=lambda: autocast(numerics), known=known)
        if choice.name != known:
            remember("steady", repr(facts), {"name": choice.name})
        return choice

    def _numerics(self, reference: OtherModel) -> Numerics:
        if reference.dtype == "auto":
            return self.numerics
        return Numerics(getattr(torch, reference.dtype), None, self.numerics.device)

    # ------------------------------------------------------------------ what is said
    def of_other(self, reference: Frozen, sets: Sequence[RowSet], name: str) -> list[Said]:
        """What another model says of each set; it is loaded and dropped.

        Raises:
            ModelError: it cannot be loaded.
            NeedsError: it cannot read a row.
        """
        other = model_of(reference)
        assert isinstance(other, OtherModel)
        own = self._own_tokenizer(reference)
        read = [
            rows.examples if own is None else self._rows_of(rows, own, reference) for rows in sets
        ]
        names = [name + rows.name for rows in sets]
        found = self._of_loaded(other, reference, list(zip(read, names, strict=True)), own)
        _let_go()
        return found

    def _of_loaded(
        self,
        other: OtherModel,
        reference: Frozen,
        sets: Sequence[tuple[Sequence[Example], str]],
        own: Any,
    ) -> list[Said]:
        tokenizer = own or self.reader.tokenizer
        with self.other(other, grows=own is None) as source:
            return [
                self.said(source, reference, examples, tokenizer, name, own is None)
                for examples, name in sets
            ]

    def said(
        self,
        source: Source,
        reference: Frozen,
        examples: Sequence[Example],
        tokenizer: Any,
        name: str,
        has_policys_tokens: bool = True,  # noqa: FBT001, FBT002
    ) -> Said:
        """What a model that is there says of some rows, from the store where it lies there."""
        rows: Sequence[TokenRow] = examples
        if isinstance(reference, Unconditional):
            begin = np.array([begin_token(tokenizer)], dtype=np.int32)
            rows = [Alone(begin, row.responses) for row in examples]
        if self.compares:
            self.compared[name] = compared(source, rows, self.compares)
            return Said((), Filled([]))
        filled = stored_values(
            source, rows, self.progress, description=name, verifies=self.verifies
        )
        self._tell(name, source, filled)
        return Said(examples, filled, has_policys_tokens)

    def _tell(self, name: str, source: Source, filled: Filled) -> None:
        for note in filled.notes:
            self.progress.note(note)
        if not filled.computed:
            text = f"{name}: all {filled.hits:,} responses were stored already"
        else:
            speed = filled.tokens / max(filled.seconds, 1e-9)
            text = (
                f"{name}: {filled.computed:,} responses computed in {filled.seconds:.1f} s "
                f"({speed:,.0f} tokens/s, {source.key.dtype}), {filled.hits:,} were stored already"
            )
        self.notes.append(f"{text}; {in_bytes(filled.size_after)} on disk")
        self.progress.note(self.notes[-1])


def _is_cut(rows: RowSet, *, with_prompts: bool) -> bool:
    return rows.is_shortened and (with_prompts or any(any(row.cut) for row in rows.examples))


def begin_token(tokenizer: Any) -> int:
    """What stands where a prompt would be: the begin token, or the end token without one."""
    begin = tokenizer.bos_token_id
    return int(tokenizer.eos_token_id if begin is None else begin)


def _in_words(numerics: Numerics) -> str:
    name = str(numerics.weights).removeprefix("torch.")
    if numerics.autocast is None or numerics.autocast == numerics.weights:
        return name
    return f"{name}, products in {str(numerics.autocast).removeprefix('torch.')}"


def _let_go() -> None:
    """Free what the last model took: it holds itself in a circle."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
