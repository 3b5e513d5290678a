"""What is wrong with preference rows, and what they would teach, before a model is loaded."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from truing.core.needs import Needs
from truing.core.progress import SILENT, Progress
from truing.data import Row, RowReader, Where
from truing.data.duplicates import (
    Texts,
    contamination,
    contradictions,
    distinct,
    near_duplicates,
    repeats,
)
from truing.data.signal import REASONS
from truing.data.sources import Data
from truing.data.turns import LossTurns
from truing.errors import ConfigError, RowError, TruingError
from truing.jobs.inspect_findings import Finding, findings_of
from truing.jobs.inspect_measures import (
    LIMITS,
    label_bias,
    length_bias,
    pairs_of,
    score_facts,
    spread,
    truncation_forecast,
)
from truing.jobs.inspect_rows import LONGEST, Survey

Verdict = Literal["good", "look", "bad"]
# Rows that are read, rendered and tokenised at a time.
_CHUNK = 1024


@dataclass(frozen=True)
class InspectReport:
    """What `truing inspect` found; plain values throughout.

    Args:
        source: the data as the user named it.
        unit: of all lengths: "tokens", or "characters" without a tokenizer.
        counts: rows, prompts, kinds, layouts, and rows that are malformed or have no signal.
        lengths: spread of prompt, chosen, rejected (or response) lengths.
        bias: label-length bias of the pairs; empty without pairs.
        labels: the same for unpaired rows; empty without labels.
        scores: spread of scores and gaps, ODPO's offset for each scale; empty without scores.
        duplicates: repeated and nearly equal rows, contradictions.
        contamination: rows of the test set that stand in this one; empty without a test set.
        template: how rows become tokens; empty without a tokenizer.
        truncation: what each limit would cost; empty without a tokenizer.
        margins: of some rows under the model; empty unless asked for.
        findings: what to know, most serious first.
        strict: findings of the level "look" count as failure too.
        error: a fault of the whole data, as {"what", "where", "fix"}; empty where it could be read.
    """

    source: str
    unit: str
    counts: Mapping[str, Any] = field(default_factory=dict)
    lengths: Mapping[str, Any] = field(default_factory=dict)
    bias: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    duplicates: Mapping[str, Any] = field(default_factory=dict)
    contamination: Mapping[str, Any] = field(default_factory=dict)
    template: Mapping[str, Any] = field(default_factory=dict)
    truncation: Sequence[Mapping[str, Any]] = ()
    margins: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    strict: bool = False
    error: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The level of the most serious finding; "good" without any but notes."""
        levels = {finding.level for finding in self.findings}
        return "bad" if "bad" in levels else "look" if "look" in levels else "good"

    @property
    def verdict_line(self) -> str:
        """One line for the end of a log."""
        serious = [f.what.partition(" (")[0] for f in self.findings if f.level != "note"]
        rest = f" (and {len(serious) - 3} more)" if len(serious) > 3 else ""
        return f"{self.verdict}: {'; '.join(serious[:3]) or 'nothing found'}{rest}"

    @property
    def exit_code(self) -> int:
        """1 where the data is bad, or anything is to be looked at and `strict` is set."""
        return int(self.verdict == "bad" or (self.strict and self.verdict == "look"))

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values, verdict and exit code included."""
        return asdict(self) | {
            "verdict": self.verdict,
            "verdict_line": self.verdict_line,
            "exit_code": self.exit_code,
        }


def inspect(
    data: Data,
    *,
    model: str | Path | None = None,
    test: Data | None = None,
    objective: str | None = None,
    max_length: int | None = None,
    loss_turns: LossTurns = "all",
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    margins: int = 0,
    reference: str | Path | None = None,
    progress: Progress = SILENT,
) -> InspectReport:
    """Read, measure and judge preference rows.

    A fault of the data is part of the report, not an exception, so that there is always one.

    Args:
        data: as `truing.data.prepare` takes it.
        model: folder or hub name of a tokenizer; lengths are in characters without it.
        test: held-out rows that should not stand in `data`.
        objective: an expression; rows are judged by what it needs.
        max_length: limit to judge by; None: what model and tokenizer can read.
        loss_turns: which turns of a response of several turns are learned, and counted.
        columns: our column name -> the name in the file.
        strict: what is worth a look counts as failure.
        margins: so many rows are scored with the model, for the effect of length on rewards.
        reference: for the margins: another model to take log-ratios to.
        progress: is shown how far it has come.

    Raises:
        ModelError: the tokenizer (or, for margins, the model) cannot be loaded.
        KnobError: the objective cannot be parsed.
        ConfigError: a mapping of columns that maps nothing; margins without a model.
    """
    _refuse_without_effect(margins, model, reference)
    needs = Needs() if objective is None else _parsed(objective)
    tokenizer, limit = (None, max_length) if model is None else _tokenizer(model, max_length)
    report = InspectReport(_name(data), "characters" if tokenizer is None else "tokens")
    reader = RowReader(data, columns=columns, skips_bad=True)
    survey = Survey(tokenizer, needs, loss_turns, margins, limit or LONGEST)
    try:
        _read(reader, survey, progress)
    except RowError as error:
        fault = {"what": error.what, "where": error.where, "fix": error.fix}
        finding = Finding("bad", f"{error.where}: {error.what}", error.fix)
        return replace(report, error=fault, findings=(finding,), strict=strict)
    report = replace(
        _filled(report, reader, survey, limit),
        contamination={} if test is None else _contamination(survey.texts, test, columns, progress),
        duplicates=_duplicates(survey, progress),
        margins=_margins(survey.smallest_ids(), model, margins, reference, limit, progress)
        if margins
        else {},
    )
    found = (*_unmet(survey), *findings_of(report.to_json(), reader.notes))
    return replace(report, findings=_shortened(found, reader), strict=strict)


def _read(reader: RowReader, survey: Survey, progress: Progress) -> None:
    """All rows of the data, some at a time."""
    words = "reading" if survey.tokenizer is None else "reading and tokenising"
    rows = iter(reader)
    first = list(islice(rows, _CHUNK))
    more = iter(lambda: list(islice(rows, _CHUNK)), [])
    with progress.task(total=reader.num_rows, description=words) as task:
        for count in survey.read(chain([first], more)):
            task.advance(count)


def _margins(
    rows: Sequence[Row],
    model: Any,
    count: int,
    reference: Any,
    limit: int | None,
    progress: Progress,
) -> dict[str, Any]:
    from truing.jobs.inspect_margins import margins_of

    return margins_of(rows, model, count, reference=reference, max_length=limit, progress=progress)


def _refuse_without_effect(margins: int, model: Any, reference: Any) -> None:
    if margins and model is None:
        raise ConfigError(
            "margins need a model", where="--margins", fix="give --model, a folder with weights"
        )
    if reference is not None and not margins:
        raise ConfigError(
            "has no effect without margins", where="--reference", fix="say --margins N too"
        )


def _name(data: Data) -> str:
    """The data as a title: what the user wrote, or that it was handed over by a program."""
    if isinstance(data, str | Path):
        return str(data)
    files = data if isinstance(data, list | tuple) else ()
    return ", ".join(map(str, files)) if files and isinstance(files[0], str) else "rows in memory"


def _shortened(found: tuple[Finding, ...], reader: RowReader) -> tuple[Finding, ...]:
    """Of one file the name stands in the title; a finding says the rows alone."""
    if len(reader.layouts) != 1:
        return found
    name = next(iter(reader.layouts))
    return tuple(replace(f, what=f.what.replace(f"{name} row", "row")) for f in found)


def write_html(report: InspectReport, path: Path | str) -> Path:
    """The report as one self-contained page; gives its path."""
    from truing.report.inspect_page import inspect_page

    target = Path(path)
    target.write_text(inspect_page(report.to_json()), encoding="utf-8")
    return target


def _parsed(objective: str) -> Needs:
    from truing.recipes import parse

    return parse(objective).needs


def _tokenizer(model: str | Path, max_length: int | None) -> tuple[Any, int | None]:
    from truing.engine.gguf_files import is_gguf
    from truing.engine.models import load_config, load_tokenizer, max_positions

    tokenizer = load_tokenizer(str(model))
    if max_length is not None:
        return tokenizer, max_length
    has_config = (Path(model) / "config.json").is_file() or is_gguf(str(model))
    config = load_config(str(model)) if has_config else None
    return tokenizer, max_positions(config, tokenizer)


def _unmet(survey: Survey) -> list[Finding]:
    error = survey.unmet
    return [] if error is None else [Finding("bad", f"{error.where}: {error.what}", error.fix)]


def _filled(
    report: InspectReport, reader: RowReader, survey: Survey, limit: int | None
) -> InspectReport:
    rows = survey.facts
    pairs = pairs_of([rows[i] for i in survey.with_signal])
    by_side: dict[str, list[int]] = {}
    for row in rows:
        names = ("chosen", "rejected") if row.kind == "pair" else ("response",) * len(row.lengths)
        for name, length in zip(names, row.lengths, strict=True):
            by_side.setdefault(name, []).append(length)
    limits = [*LIMITS, *([limit] if limit else [])]
    return replace(
        report,
        counts=_counts(reader, survey, len(pairs)) | {"max_length": limit},
        lengths={
            "prompt": spread([row.prompt_length for row in rows]),
            **{name: spread(values) for name, values in by_side.items()},
        },
        bias=length_bias(pairs),
        labels=label_bias(rows) if any(r.label is not None for r in rows) else {},
        scores=score_facts(pairs, rows),
        template=survey.template,
        truncation=truncation_forecast(rows, limits) if survey.template and rows else (),
    )


def _counts(reader: RowReader, survey: Survey, num_pairs: int) -> dict[str, Any]:
    rows = survey.facts
    prompts = Counter(row.prompt for row in rows)
    faults = [*reader.faults, *survey.faults]
    met = ("ties", "reversals", "empty_in_kwise", "joined", "idle_tools")
    words = {**REASONS, **dict.fromkeys(met, "")}
    kinds = {kind: survey.counts[f"kind {kind}"] for kind in ("pair", "kwise", "unpaired")}
    return {
        "rows_read": reader.num_read,
        "rows": len(rows),
        "rows_with_signal": len(survey.with_signal),
        "pairs": num_pairs,
        "responses": sum(len(row.responses) for row in rows),
        "prompts": len(prompts),
        "most_rows_of_a_prompt": max(prompts.values(), default=0),
        "empty_prompts": survey.counts["empty_prompts"],
        "conversational": survey.counts["conversational"],
        "kinds": {kind: count for kind, count in kinds.items() if count},
        "layouts": dict(reader.layouts),
        "malformed": {
            "count": len(faults),
            "first": [f"{fault.place}: {fault.what}" for fault in faults[:5]],
        },
        "silent": {word: tally.to_json() for word, tally in survey.silent.of(words).items()},
    }


def _places(items: Sequence[Any], words: Callable[[Any], str]) -> dict[str, Any]:
    return {"count": len(items), "first": [words(item) for item in items[:5]]}


def _duplicates(survey: Survey, progress: Progress) -> dict[str, Any]:
    def twice(item: tuple[Where, Where]) -> str:
        return f"{item[1]} repeats {item[0]}"

    return {
        "repeats": _places(repeats(survey.facts), twice),
        "contradictions": _places(
            contradictions(survey.facts), lambda c: f"{c.other} against {c.one}: {c.what}"
        ),
        "distinct_prompts": len(survey.texts),
        "near": _places(
            near_duplicates(survey.texts, progress=progress),
            lambda t: f"{t.other} is like {t.one} ({t.similarity:.2f})",
        ),
    }


def _contamination(
    texts: Texts, test: Data, columns: Mapping[str, str] | None, progress: Progress
) -> dict[str, Any]:
    try:
        held = distinct(RowReader(test, columns=columns, skips_bad=True))
    except TruingError as error:
        return {"error": str(error), "source": str(test)}
    twins = contamination(texts, held, progress=progress)

    def words(twin: Any) -> str:
        return f"{twin.other} stands in {twin.one} ({twin.similarity:.2f})"

    return {
        "source": str(test),
        "distinct_prompts": len(held),
        "exact": _places([twin for twin in twins if twin.similarity == 1.0], words),
        "near": _places([twin for twin in twins if twin.similarity < 1.0], words),
    }
