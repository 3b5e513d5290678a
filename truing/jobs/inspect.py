"""What is wrong with preference rows, and what they would teach, before a model is loaded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from truing.core.needs import Needs
from truing.core.progress import SILENT, Progress
from truing.data import Row, RowReader, Where
from truing.data.duplicates import contamination, contradictions, distinct, near_duplicates, repeats
from truing.data.rows import text_of
from truing.data.signal import REASONS, check_row, silence_of, without_empty
from truing.data.sources import Data
from truing.data.summary import Tallies
from truing.errors import ConfigError, NeedsError, RowError, TruingError
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
from truing.jobs.inspect_rows import MeasuredRows

Verdict = Literal["good", "look", "bad"]


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
    try:
        rows = list(progress.track(reader, total=None, description="reading"))
    except RowError as error:
        fault = {"what": error.what, "where": error.where, "fix": error.fix}
        finding = Finding("bad", f"{error.where}: {error.what}", error.fix)
        return replace(report, error=fault, findings=(finding,), strict=strict)
    measured = MeasuredRows(rows, reader.faults)
    if tokenizer is None:
        measured.count_characters()
    else:
        measured.tokenise(tokenizer, progress)
    report = replace(
        _filled(report, reader, measured, needs, limit),
        contamination={} if test is None else _contamination(rows, test, columns, progress),
        duplicates=_duplicates(rows, progress),
        margins=_margins(rows, model, margins, reference, limit, progress) if margins else {},
    )
    found = (*_unmet(measured.rows, needs), *findings_of(report.to_json(), reader.notes))
    return replace(report, findings=_shortened(found, reader), strict=strict)


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
    from transformers import AutoConfig

    from truing.engine.models import load_tokenizer, max_positions

    tokenizer = load_tokenizer(str(model))
    if max_length is not None:
        return tokenizer, max_length
    has_config = (Path(model) / "config.json").is_file()
    config = AutoConfig.from_pretrained(model) if has_config else None
    return tokenizer, max_positions(config, tokenizer)


def _unmet(rows: Sequence[Row], needs: Needs) -> list[Finding]:
    try:
        for row in rows:
            check_row(row, needs)
    except NeedsError as error:
        return [Finding("bad", f"{error.where}: {error.what}", error.fix)]
    return []


def _filled(
    report: InspectReport,
    reader: RowReader,
    measured: MeasuredRows,
    needs: Needs,
    limit: int | None,
) -> InspectReport:
    rows, responses = measured.rows, measured.responses
    silent, with_signal = _signal(rows, needs)
    pairs = pairs_of([rows[i] for i in with_signal], [responses[i] for i in with_signal])
    by_side: dict[str, list[int]] = {}
    for row, lengths in zip(rows, responses, strict=True):
        names = ("chosen", "rejected") if row.kind == "pair" else ("response",) * len(lengths)
        for name, length in zip(names, lengths, strict=True):
            by_side.setdefault(name, []).append(length)
    limits = [*LIMITS, *([limit] if limit else [])]
    return replace(
        report,
        counts=_counts(reader, measured, silent, pairs) | {"max_length": limit},
        lengths={
            "prompt": spread(measured.prompts),
            **{name: spread(values) for name, values in by_side.items()},
        },
        bias=length_bias(pairs),
        labels=label_bias(rows, responses) if any(r.label is not None for r in rows) else {},
        scores=score_facts(pairs, rows),
        template=measured.template,
        truncation=truncation_forecast(np.array(measured.prompts, dtype=float), responses, limits)
        if measured.template and rows
        else (),
    )


def _signal(rows: Sequence[Row], needs: Needs) -> tuple[dict[str, Any], list[int]]:
    """Rows without signal by reason, and the indices of the others."""
    tallies, kept = Tallies(), []
    for index, row in enumerate(rows):
        full = without_empty(row)
        if full is not row:
            tallies.add("empty_in_kwise", row.where)
        reason = silence_of(full, needs)
        if reason is None:
            kept.append(index)
        else:
            tallies.add(reason, row.where)
        if row.kind == "pair" and row.scores is not None and row.scores[0] <= row.scores[1]:
            tallies.add("ties" if row.scores[0] == row.scores[1] else "reversals", row.where)
        if _lacks_space(row):
            tallies.add("joined", row.where)
    words = {**REASONS, "ties": "", "reversals": "", "empty_in_kwise": "", "joined": ""}
    return {word: tally.to_json() for word, tally in tallies.of(words).items()}, kept


def _lacks_space(row: Row) -> bool:
    """Plain text whose prompt and first response would run into one word."""
    first = row.responses[0]
    return (
        isinstance(row.prompt, str)
        and isinstance(first, str)
        and row.prompt[-1:].isalnum()
        and first[:1].isalnum()
    )


def _counts(
    reader: RowReader, measured: MeasuredRows, silent: Mapping[str, Any], pairs: Any
) -> dict[str, Any]:
    rows = measured.rows
    kinds: dict[str, int] = {}
    prompts: dict[Any, int] = {}
    for row in rows:
        kinds[row.kind] = kinds.get(row.kind, 0) + 1
        prompts[row.prompt] = prompts.get(row.prompt, 0) + 1
    left_out = sum(silent[word]["count"] for word in REASONS if word in silent)
    return {
        "rows_read": reader.num_read,
        "rows": len(rows),
        "rows_with_signal": len(rows) - left_out,
        "pairs": len(pairs),
        "responses": sum(map(len, measured.responses)),
        "prompts": len(prompts),
        "most_rows_of_a_prompt": max(prompts.values(), default=0),
        "empty_prompts": sum(not text_of(row.prompt).strip() for row in rows),
        "conversational": sum(row.is_conversational for row in rows),
        "kinds": kinds,
        "layouts": dict(reader.layouts),
        "malformed": {
            "count": len(measured.faults),
            "first": [f"{fault.place}: {fault.what}" for fault in measured.faults[:5]],
        },
        "silent": silent,
    }


def _places(items: Sequence[Any], words: Callable[[Any], str]) -> dict[str, Any]:
    return {"count": len(items), "first": [words(item) for item in items[:5]]}


def _duplicates(rows: Sequence[Row], progress: Progress) -> dict[str, Any]:
    texts = distinct(rows)

    def twice(item: tuple[Where, Where]) -> str:
        return f"{item[1]} repeats {item[0]}"

    return {
        "repeats": _places(repeats(rows), twice),
        "contradictions": _places(
            contradictions(rows), lambda c: f"{c.other} against {c.one}: {c.what}"
        ),
        "distinct_prompts": len(texts),
        "near": _places(
            near_duplicates(texts, progress=progress),
            lambda t: f"{t.other} is like {t.one} ({t.similarity:.2f})",
        ),
    }


def _contamination(
    rows: Sequence[Row], test: Data, columns: Mapping[str, str] | None, progress: Progress
) -> dict[str, Any]:
    try:
        held = distinct(RowReader(test, columns=columns, skips_bad=True))
    except TruingError as error:
        return {"error": str(error), "source": str(test)}
    twins = contamination(distinct(rows), held, progress=progress)

    def words(twin: Any) -> str:
        return f"{twin.other} stands in {twin.one} ({twin.similarity:.2f})"

    return {
        "source": str(test),
        "distinct_prompts": len(held),
        "exact": _places([twin for twin in twins if twin.similarity == 1.0], words),
        "near": _places([twin for twin in twins if twin.similarity < 1.0], words),
    }
