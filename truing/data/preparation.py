"""From data to examples: read, check, tokenise, fit to the limit, and count everything."""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from truing.core.needs import Needs
from truing.core.progress import SILENT, Progress
from truing.data.examples import Example
from truing.data.limits import POLICIES, Fitted, Truncation, fit
from truing.data.prepared import keep, load, place_of
from truing.data.reading import RowReader
from truing.data.rows import Row, odd_turn, spoken
from truing.data.signal import REASONS, check_row, learned, order_of, silence_of, without_empty
from truing.data.sources import Data
from truing.data.summary import DataSummary, Tallies, left_out_sentences, sentences
from truing.data.table import Collector, ExampleTable
from truing.data.template import drops_tools
from truing.data.tokenise import TokenisedRow, Tokeniser
from truing.data.turns import LOSS_TURNS, LossTurns, Mask
from truing.data.where import Fault, refusal
from truing.errors import ConfigError, RowError

# Rows that are rendered and tokenised at a time: enough for the tokenizer's threads.
_CHUNK = 1024
_NOTHING = Needs()


@dataclass(frozen=True)
class Prepared:
    """Examples, and what became of the rows that they were made of."""

    examples: Sequence[Example]
    summary: DataSummary


def prepare(
    source: Data,
    tokenizer: Any,
    *,
    max_length: int,
    truncation: Truncation = "drop",
    loss_turns: LossTurns = "all",
    needs: Needs = _NOTHING,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    skip_bad: Path | str | None = None,
    offers_skip: bool = False,
    is_auxiliary: bool = False,
    progress: Progress = SILENT,
) -> Prepared:
    """Rows of any layout as token ids, with every loss counted and named.

    Args:
        source: a file, a folder, a `datasets` name, a list of these, or an iterable of mappings.
        tokenizer: of transformers.
        max_length: tokens of a prompt with its longest response, end token included.
        truncation: of rows over that limit: leave them out (`drop`), shorten the prompt to its
            end or start (`keep_end`, `keep_start`), or `cut` the responses.
        loss_turns: of a response of several turns: `all` of the assistant's are learned, or the
            `last` alone; turns of others never are.
        needs: of the objective; a row that has no signal for it is left out and counted.
        columns: our column name -> the name in the file.
        strict: a row without signal or over the limit is an error.
        skip_bad: malformed rows are written to this file (JSON lines), and the rest is used.
        offers_skip: where they are an error, it names `--skip-bad` as a remedy.
        is_auxiliary: the data is text to be learned beside the pairs.
        progress: is shown how far it has come.

    Raises:
        RowError: malformed rows, or no row left.
        NeedsError: the data lacks a column that `needs` names.
        ModelError: the tokenizer has no end token, or no chat template for conversations.
        ConfigError: a limit or policy that does not exist.
    """
    _refuse_unknown(max_length, truncation, loss_turns)
    aside = None if skip_bad is None else Path(skip_bad)
    reader = RowReader(source, columns, is_auxiliary, aside is not None, offers_skip)
    tokeniser, begin = Tokeniser(tokenizer, loss_turns), tokenizer.bos_token_id
    maker = _Maker(tokeniser, begin, max_length, truncation, needs, is_auxiliary)
    return Prepared(*_found(reader, maker, aside, progress, strict=strict))


def _found(
    reader: RowReader, maker: "_Maker", aside: Path | None, progress: Progress, *, strict: bool
) -> tuple[ExampleTable, DataSummary]:
    """From the last time, where the files and all that the examples depend on are the same."""
    settings = maker.settings | {"columns": dict(reader.columns or {}), "strict": strict}
    # Rows that are skipped have to be written out again, which is done by reading them.
    key = None if aside is not None else maker.tokeniser.key
    place = place_of(reader.data, key, maker.needs, settings)
    kept = None if place is None else load(place)
    if kept is not None:
        return kept
    made = _made(reader, maker, aside, progress, strict=strict)
    return made if place is None else keep(place, *made)


def _made(
    reader: RowReader, maker: "_Maker", aside: Path | None, progress: Progress, *, strict: bool
) -> tuple[ExampleTable, DataSummary]:
    examples, faults = _collected(reader, maker, progress)
    if aside is not None:
        write_faults(aside, [*reader.faults, *faults])
    elif faults:
        raise refusal(faults, offers_skip=reader.offers_skip)
    return examples, _finish(maker, reader, examples, faults, strict=strict)


def _refuse_unknown(max_length: int, truncation: Truncation, loss_turns: LossTurns) -> None:
    if truncation not in POLICIES or loss_turns not in LOSS_TURNS or max_length < 2:
        raise ConfigError(
            f"max_length={max_length}, truncation={truncation!r}, loss_turns={loss_turns!r} "
            "cannot be used",
            where="data",
            fix=f"max_length is at least 2, truncation one of {', '.join(POLICIES)}, "
            f"loss_turns one of {', '.join(LOSS_TURNS)}",
        )


def _collected(
    reader: RowReader, maker: "_Maker", progress: Progress
) -> tuple[ExampleTable, list[Fault]]:
    """All examples, and the rows that the chat template refused; some rows at a time."""
    collector, faults = Collector(), list[Fault]()
    rows, sizes = iter(reader), deque[int]()

    def kept(chunk: list[Row]) -> Iterator[list[Row]]:
        while chunk:
            sizes.append(len(chunk))
            yield list(maker.with_signal(chunk))
            chunk = list(islice(rows, _CHUNK))

    first = list(islice(rows, _CHUNK))
    with progress.task(total=reader.num_rows, description="reading and tokenising") as task:
        for items in maker.tokeniser.stream(kept(first)):
            for item in items:
                made = item if isinstance(item, Fault) else maker.example(item)
                if isinstance(made, Fault):
                    faults.append(made)
                elif made is not None:
                    collector.add(made)
            task.advance(sizes.popleft())
    return collector.table(), faults


def write_faults(path: Path, faults: Sequence[Fault]) -> None:
    """Malformed rows as JSON lines: file, row, column, reason, and the row as it was found."""
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for fault in faults:
            line = {
                "file": fault.where.file,
                "row": fault.where.row,
                "column": fault.column,
                "reason": fault.what,
                "raw": fault.raw,
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


@dataclass
class _Maker:
    """Makes examples of rows and counts what it meets."""

    tokeniser: Tokeniser
    begin_id: int | None
    max_length: int
    truncation: Truncation
    needs: Needs
    is_auxiliary: bool
    tallies: Tallies = field(default_factory=Tallies)
    sums: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    labels: set[bool] = field(default_factory=set)

    @property
    def settings(self) -> dict[str, Any]:
        """What the examples depend on beside rows, tokenizer and needs."""
        names = ("begin_id", "max_length", "truncation", "is_auxiliary")
        return {name: getattr(self, name) for name in names}

    def with_signal(self, rows: Sequence[Row]) -> Iterator[Row]:
        """Rows that teach something; the others are counted and left out."""
        for row in rows:
            check_row(row, self.needs)
            full = without_empty(row)
            if full is not row:
                self.tallies.add("empty_responses", row.where)
            if self.is_auxiliary:
                full = learned(full)
                if full is None:
                    self.tallies.add("undesirable", row.where)
                    continue
            reason = silence_of(full, self.needs)
            if reason is not None:
                self.tallies.add(reason, row.where)
                continue
            if row.kind == "pair" and row.scores is not None and row.scores[0] <= row.scores[1]:
                is_tie = row.scores[0] == row.scores[1]
                self.tallies.add("ties" if is_tie else "reversals", row.where)
            if self.tokeniser.renderer.spells_control(spoken(row)):
                self.tallies.add("special", row.where)
            if drops_tools(row, self.tokeniser.renderer):
                self.tallies.add("idle_tools", row.where)
            turn = odd_turn(row)
            if turn:
                self.tallies.add("odd_turns", row.where, turn)
            yield full

    def example(self, item: TokenisedRow) -> Example | None:
        """The row within the limit; None where nothing is left of it, which is counted."""
        where = item.row.where
        begin = int(self.begin_id is not None and item.prompt[0] == self.begin_id)
        fitted = fit(item.prompt, item.responses, self.max_length, self.truncation, begin)
        masks = None if fitted is None else _masks(item, fitted)
        if fitted is None or not all(mask.any() for mask in masks or ()):
            lengths = " and ".join(str(len(response)) for response in item.responses[:2])
            more = " ..." if len(item.responses) > 2 else ""
            detail = f"prompt {len(item.prompt)}, responses {lengths}{more} tokens"
            self.tallies.add("too_long", where, detail)
            return None
        pairs = _pairs(item.row, fitted.responses)
        if item.row.kind != "unpaired" and not pairs:
            self.tallies.add("equal", where)
            return None
        self._count(item, fitted, len(pairs))
        labels = self._labels(item.row)
        self.labels.update(() if self.is_auxiliary else labels or ())
        return Example(
            fitted.prompt,
            fitted.responses,
            pairs,
            item.row.row_id,
            where,
            item.row.scores,
            labels,
            item.row.win_probability,
            fitted.cut,
            masks,
        )

    def _labels(self, row: Row) -> tuple[bool, ...] | None:
        if row.kind == "pair" and self.needs.labels:
            return (True, False)
        return None if row.label is None else (row.label,)

    def _count(self, item: TokenisedRow, fitted: Fitted, num_pairs: int) -> None:
        lengths = [len(response) for response in fitted.responses]
        self.kinds[item.row.kind] += 1
        self.sums["lost"] += fitted.lost
        self.sums["moved"] += item.moved
        self.sums["pairs"] += num_pairs
        self.sums["responses"] += len(lengths)
        self.sums["prompt_tokens"] += len(fitted.prompt)
        self.sums["response_tokens"] += sum(lengths)
        if item.learned is not None:
            self.sums["context"] += sum(int((~mask).sum()) for mask in _masks(item, fitted) or ())
        self.sums["longest"] = max(self.sums["longest"], len(fitted.prompt) + max(lengths))
        facts = {
            "shortened": fitted.lost > 0,
            "moved": item.moved > 0,
            "ends_inside": item.num_ends_inside > 0,
            "end_first": item.end_was_put_first,
            "several_turns": item.learned is not None,
        }
        for word, is_so in facts.items():
            if is_so:
                self.tallies.add(word, item.row.where)


def _masks(item: TokenisedRow, fitted: Fitted) -> tuple[Mask, ...] | None:
    """Which tokens carry loss in the responses that are left of a row; None: all."""
    if item.learned is None:
        return None
    both = zip(item.learned, fitted.responses, strict=True)
    return tuple(mask[: len(response)] for mask, response in both)


def _pairs(row: Row, responses: Sequence[np.ndarray]) -> tuple[tuple[int, int], ...]:
    """Who stands against whom; never two responses of the same tokens."""
    count = len(responses)
    if row.kind == "pair":
        candidates = [(0, 1)]
    elif row.kind == "kwise":
        order = order_of(row)
        assert order is not None, "checked before"
        candidates = [(i, j) for i in range(count) for j in range(count) if order[i] > order[j]]
    else:
        candidates = []
    return tuple((i, j) for i, j in candidates if not np.array_equal(responses[i], responses[j]))


def _finish(
    maker: _Maker,
    reader: RowReader,
    examples: ExampleTable,
    faults: Sequence[Fault],
    *,
    strict: bool,
) -> DataSummary:
    tallies = maker.tallies
    left_out = tallies.of(REASONS)
    bad = [*reader.faults, *faults]
    for fault in bad:
        tallies.add("malformed", fault.where)
    if strict and left_out:
        first, *rest = left_out_sentences(left_out)
        raise RowError(
            "\n".join([first, *rest]),
            where="--strict",
            fix="mend or remove these rows, or go without --strict (they are counted and left out)",
        )
    if not examples:
        reasons = left_out_sentences(left_out) + [f"malformed: {tallies['malformed']}"] * bool(bad)
        raise RowError(
            "no row is left to train on; " + "; ".join(reasons),
            where=", ".join(reader.layouts),
            fix="raise max_length or choose another truncation"
            if set(left_out) == {"too_long"}
            else "give rows whose responses differ",
        )
    summary = DataSummary(
        rows_read=reader.num_read,
        rows=len(examples),
        pairs=maker.sums["pairs"],
        responses=maker.sums["responses"],
        kinds=dict(maker.kinds),
        layouts=reader.layouts,
        malformed=tallies["malformed"],
        left_out=left_out,
        prompt_tokens=maker.sums["prompt_tokens"],
        response_tokens=maker.sums["response_tokens"],
        longest=maker.sums["longest"],
        shortened=tallies["shortened"],
        lost_tokens=maker.sums["lost"],
        moved=tallies["moved"],
        moved_tokens=maker.sums["moved"],
        special=tallies["special"],
        idle_tools=tallies["idle_tools"],
        odd_turns=tallies["odd_turns"],
        ends_inside=tallies["ends_inside"],
        end_first=tallies["end_first"],
        several_turns=tallies["several_turns"],
        context_tokens=maker.sums["context"],
        ties=tallies["ties"],
        reversed=tallies["reversals"],
        empty_responses=tallies["empty_responses"],
        duplicates=reader.num_duplicates,
        fingerprint=hashlib.blake2b(examples.row_ids.tobytes(), digest_size=16).hexdigest(),
    )
    notes = (*reader.notes, *sentences(summary, one_label=_one_label(maker.labels)))
    return replace(summary, notes=notes)


def _one_label(labels: set[bool]) -> str:
    if len(labels) != 1:
        return ""
    missing = "desirable" if labels == {False} else "undesirable"
    return f"no row is labelled {missing}: weights of the two classes cannot follow from counts"
