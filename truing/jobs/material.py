"""Everything of a run that is known before a model is loaded, checked in the order of its cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from truing.config import RunConfig
from truing.core import Needs
from truing.core.progress import Progress
from truing.data import DataSummary, Example, Prepared, Source, prepare
from truing.data.beside import mismatched_responses, prepare_auxiliary
from truing.data.table import ExampleTable
from truing.engine import ENGINES, Engine
from truing.engine.adapters import base_of
from truing.engine.frozen import refuse_unloadable
from truing.engine.gguf_files import is_gguf
from truing.engine.models import choose_numerics, load_config, load_tokenizer, max_positions
from truing.errors import NeedsError
from truing.objectives import Objective
from truing.recipes import parse
from truing.references.fitting import refuse_misfits
from truing.references.policies import (
    Moving,
    OtherModel,
    Reference,
    each,
    model_of,
    parse_reference,
)


@dataclass(frozen=True)
class Reader:
    """Reads rows as one run reads them: its tokenizer, length limit, columns and truncation."""

    config: RunConfig
    tokenizer: PreTrainedTokenizerBase
    max_length: int

    def read(
        self,
        source: str | Sequence[Source],
        needs: Needs,
        progress: Progress,
        *,
        strict: bool = False,
        skip_bad: str | None = None,
        offers_skip: bool = False,
        are_texts: bool = False,
    ) -> Prepared:
        """Rows of a source as token ids; texts to be learned (of pairs the chosen response) if so.

        `offers_skip`: the command has `--skip-bad` for these rows.

        Raises:
            RowError: a malformed row, or nothing left.
            NeedsError: a column that the needs name is not there.
        """
        return prepare(
            source,
            self.tokenizer,
            max_length=self.max_length,
            truncation=self.config.truncation,
            loss_turns=self.config.loss_turns,
            needs=needs,
            columns=self.config.columns or None,
            strict=strict,
            skip_bad=None if skip_bad is None else Path(skip_bad),
            offers_skip=offers_skip,
            is_auxiliary=are_texts,
            progress=progress,
        )


@dataclass(frozen=True)
class RunMaterial:
    """Objective, reference, tokenizer and rows of a run."""

    objective: Objective
    reference: Reference
    reader: Reader
    examples: Sequence[Example]
    summary: DataSummary
    auxiliary: Mapping[str, Sequence[Example]]
    held: Sequence[Example]
    held_summary: DataSummary | None

    def refuse_unfit(self, engine: Engine) -> None:
        """A row that no forward pass of this engine holds: of the run, a source, or held out.

        Raises:
            FitError: names the first.
        """
        budget = self.reader.config.tokens_per_device
        for rows in (self.examples, *self.auxiliary.values(), self.held):
            suspects: Iterable[Example] = rows
            if isinstance(rows, ExampleTable):
                suspects = (rows[int(index)] for index in rows.over(budget))
            for row in suspects:
                engine.plan([row])

    def summary_json(self) -> dict[str, Any]:
        """What was read, left out and cut, for data.json."""
        held = None if self.held_summary is None else self.held_summary.to_json()
        return {
            "max_length": self.reader.max_length,
            "train": self.summary.to_json(),
            "evaluation": held,
        }


def reader_of(config: RunConfig, tokenizer_folder: str | Path | None = None) -> Reader:
    """The reader of a run.

    Raises:
        ModelError: the tokenizer cannot be loaded.
    """
    tokenizer = load_tokenizer(str(tokenizer_folder or config.tokenizer or config.model))
    if config.max_length is not None:
        return Reader(config, tokenizer, config.max_length)
    base = base_of(config.model)
    is_here = (Path(base) / "config.json").is_file() or is_gguf(base)
    model_config = load_config(base) if is_here else None
    return Reader(config, tokenizer, max_positions(model_config, tokenizer))


def gather(
    config: RunConfig, progress: Progress, *, strict: bool, skip_bad: str | None
) -> RunMaterial:
    """Parse, read and tokenise.

    Raises:
        TruingError: the first thing that is wrong, cheapest checks first.
    """
    objective = parse(config.objective)
    reference = parse_reference(config.reference)
    refuse_unmet(objective.needs, reference, config)
    reader = reader_of(config)
    prepared = reader.read(
        sources_of(config),
        objective.needs,
        progress,
        strict=strict,
        skip_bad=skip_bad,
        offers_skip=True,
        are_texts=config.texts,
    )
    held = None
    if config.evaluation.data is not None:
        held = reader.read(config.evaluation.data, Needs(), progress, are_texts=config.texts)
    auxiliary = prepare_auxiliary(
        config.auxiliary,
        reader.tokenizer,
        objective.needs,
        max_length=reader.max_length,
        loss_turns=config.loss_turns,
        columns=config.columns or None,
        progress=progress,
    )
    examples = prepared.examples
    if objective.needs.mismatched_responses:
        examples = _with_partners(examples, config.seed, reader.max_length)
    material = RunMaterial(
        objective,
        reference,
        reader,
        examples,
        prepared.summary,
        {name: source.examples for name, source in auxiliary.items()},
        () if held is None else held.examples[: config.evaluation.rows],
        None if held is None else held.summary,
    )
    # What `auto` turns out to be is known with the model, and asked again then.
    material.refuse_unfit(ENGINES[config.engine](config.tokens_per_device))
    return material


def sources_of(config: RunConfig) -> str | list[Source]:
    """The data of a run as `prepare` reads it."""
    assert config.data is not None, "rounds make their pairs before they train on them"
    if isinstance(config.data, str):
        return config.data
    return [
        Source(one) if isinstance(one, str) else Source(one.path, one.weight) for one in config.data
    ]


def _with_partners(examples: Sequence[Example], seed: int, max_length: int) -> list[Example]:
    """Each row with another prompt's response behind its own (see `Rows.has_partner`)."""
    partners = mismatched_responses(examples, seed=seed, max_length=max_length)
    return [
        replace(
            example,
            responses=(*example.responses, partner),
            learned=_with_mask(example, mask),
            labels=None if example.labels is None else (*example.labels, False),
            scores=None if example.scores is None else (*example.scores, 0.0),
            win_probability=None
            if example.win_probability is None
            else (*example.win_probability, 0.0),
            cut=(*example.cut, False),
        )
        for example, (partner, mask) in zip(examples, partners, strict=True)
    ]


def _with_mask(example: Example, mask: np.ndarray) -> tuple[np.ndarray, ...] | None:
    """The row's masks with that of its partner; None where every token carries loss."""
    if example.learned is None and mask.all():
        return None
    own = example.learned or tuple(np.ones(len(r), dtype=np.bool_) for r in example.responses)
    return (*own, mask)


def _refuse_preferring_texts(needs: Needs, config: RunConfig) -> None:
    """Texts to be learned say nothing of what is preferred."""
    prefers = needs.reference != "none" or needs.scores != "none" or needs.win_probability
    if config.texts and (prefers or needs.labels or "unpaired" not in needs.responses):
        raise NeedsError(
            "the rows are texts to be learned, and the objective needs preferences",
            where=config.objective,
            fix="use objective=sft() on texts, or truing train on pairs",
        )


def refuse_unmet(needs: Needs, reference: Reference, config: RunConfig) -> None:
    """What an objective needs and this run cannot give, and what the run gives and nobody reads.

    Raises:
        NeedsError: names what is missing.
        ConfigError: a reference that the objective does not read.
        ModelError: a reference that cannot be loaded as it is written.
    """
    _refuse_preferring_texts(needs, config)
    refuse_misfits(reference, needs, config.objective)
    device = choose_numerics(config.dtype).device
    for one in each(reference):
        other = None if isinstance(one, Moving) else model_of(one)
        if isinstance(other, OtherModel):
            refuse_unloadable(
                other.path,
                device,
                revision=other.revision,
                quantisation=other.quantisation,
                offload=other.offload,
            )
