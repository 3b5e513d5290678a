"""Everything of a run that is known before a model is loaded, checked in the order of its cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from transformers import AutoConfig, PreTrainedTokenizerBase

from truing.config import RunConfig
from truing.core import Needs
from truing.core.progress import Progress
from truing.data import DataSummary, Example, Prepared, prepare
from truing.engine import Engine, PaddedEngine
from truing.engine.logps import STATISTICS
from truing.engine.models import load_tokenizer, max_positions
from truing.errors import ConfigError, NeedsError
from truing.objectives import Objective
from truing.recipes import parse
from truing.references.policies import NoReference, PolicyStart, Reference, parse_reference

ENGINES: Mapping[str, Callable[[int], Engine]] = MappingProxyType(
    {"auto": PaddedEngine, "padded": PaddedEngine}
)


@dataclass(frozen=True)
class Reader:
    """Reads rows as one run reads them: its tokenizer, length limit, columns and truncation."""

    config: RunConfig
    tokenizer: PreTrainedTokenizerBase
    max_length: int

    def read(
        self,
        source: str | Sequence[str],
        needs: Needs,
        progress: Progress,
        *,
        strict: bool = False,
        skip_bad: str | None = None,
    ) -> Prepared:
        """Rows of a source as token ids.

        Raises:
            RowError: a malformed row, or nothing left.
            NeedsError: a column that the needs name is not there.
        """
        return prepare(
            source,
            self.tokenizer,
            max_length=self.max_length,
            truncation=self.config.truncation,
            needs=needs,
            columns=self.config.columns or None,
            strict=strict,
            skip_bad=None if skip_bad is None else Path(skip_bad),
            progress=progress,
        )


@dataclass(frozen=True)
class RunMaterial:
    """Objective, reference, tokenizer and rows of a run."""

    objective: Objective
    reference: Reference
    reader: Reader
    engine: Engine
    examples: Sequence[Example]
    summary: DataSummary
    held: Sequence[Example]
    held_summary: DataSummary | None

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
    is_folder = (Path(config.model) / "config.json").is_file()
    model_config = AutoConfig.from_pretrained(config.model) if is_folder else None
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
    prepared = reader.read(config.data, objective.needs, progress, strict=strict, skip_bad=skip_bad)
    held = None
    if config.evaluation.data is not None:
        held = reader.read(config.evaluation.data, Needs(), progress)
    engine = ENGINES[config.engine](config.tokens_per_device)
    _refuse_rows_over_budget(engine, prepared.examples)
    return RunMaterial(
        objective,
        reference,
        reader,
        engine,
        prepared.examples,
        prepared.summary,
        () if held is None else held.examples[: config.evaluation.rows],
        None if held is None else held.summary,
    )


def _refuse_rows_over_budget(engine: Engine, examples: Sequence[Example]) -> None:
    """A row that fits no forward pass is known now, not at its step.

    Raises:
        FitError: names the row.
    """

    def width(example: Example) -> int:
        longest = len(example.prompt) + max(map(len, example.responses))
        return longest * len(example.responses)

    engine.plan([max(examples, key=width)])


def refuse_unmet(needs: Needs, reference: Reference, config: RunConfig) -> None:
    """What an objective needs and this run cannot give, and what the run gives and nobody reads.

    Raises:
        NeedsError: names what is missing.
        ConfigError: a reference that the objective does not read.
    """
    has_reference = not isinstance(reference, NoReference)
    if needs.reference != "none" and not has_reference:
        raise NeedsError(
            "the objective needs a reference", where=config.objective, fix="leave `reference` out"
        )
    if needs.reference == "none" and has_reference and not isinstance(reference, PolicyStart):
        raise ConfigError(
            "the objective reads no reference, so `reference` would have no effect",
            where=config.objective,
            fix="leave `reference` out",
        )
    unknown = sorted(needs.vocabulary_statistics - set(STATISTICS))
    missing = {
        f"{needs.references} references": needs.references > 1,
        "the reference model at every step": needs.live_reference,
        f"the statistic {', '.join(unknown)}": bool(unknown),
        "an unconditional reference": needs.unconditional_reference,
        "mismatched responses": needs.mismatched_responses,
        f"the auxiliary source {', '.join(sorted(needs.auxiliary))}": bool(needs.auxiliary),
        f"the head {', '.join(sorted(needs.heads))}": bool(needs.heads),
    }
    for what, is_missing in missing.items():
        if is_missing:
            raise NeedsError(
                f"the objective needs {what}, which `truing train` does not give yet",
                where=config.objective,
                fix="use the objective in a loop of your own, or choose another",
            )
