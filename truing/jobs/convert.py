"""Preference rows from one file into others: another layout, a split, a subset."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from truing.core.progress import SILENT, Progress
from truing.data import Row, RowReader, Tokeniser
from truing.data.duplicates import Texts, asked, near_duplicates
from truing.data.rows import Kind, said
from truing.data.sources import Data
from truing.data.where import Fault, Where
from truing.data.writing import (
    KINDS,
    PairChoice,
    Target,
    as_conversation,
    converted,
    record_of,
    write_records,
)
from truing.errors import ConfigError, RowError

Length = Literal["long", "short", "all"]


@dataclass(frozen=True)
class Written:
    """Files that were written, and how many rows each holds.

    Args:
        rows_read: rows of the source.
        files: path -> rows.
        left_out: rows that went nowhere, by reason.
    """

    rows_read: int
    files: Mapping[str, int]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def convert(
    source: Data,
    output: Path | str,
    *,
    to: Target = "pair",
    conversational: bool = False,
    pairs: PairChoice = "all",
    threshold: float | None = None,
    columns: Mapping[str, str] | None = None,
    progress: Progress = SILENT,
) -> Written:
    """Rows of any layout as one of four: `pair`, `kwise`, `unpaired`, `ranking` (ShareGPT).

    Args:
        source: as `truing.data.read_rows` takes it.
        output: file to write: .jsonl, .jsonl.gz, .json or .parquet.
        to: the layout.
        conversational: plain text becomes a user's and an assistant's turn.
        pairs: of K responses: all that the scores order, or the best against the worst.
        threshold: a K-wise response with a score above it is desirable.
        columns: our column name -> the name in the source.
        progress: is shown how far it has come.

    Raises:
        RowError: malformed rows.
        ConfigError: a conversion that has no meaning, an option without effect, or a name without
            a format.
    """
    if to not in KINDS:
        raise ConfigError(
            f"is no layout that is written: {to!r}", where="to", fix=f"one of {', '.join(KINDS)}"
        )
    _refuse_idle({"kwise"}, to, pairs, threshold)
    reader, counts, kinds = RowReader(source, columns=columns), Counter[str](), set[Kind]()

    def records() -> Iterator[dict[str, Any]]:
        for row in progress.track(reader, total=None, description="converting"):
            kinds.add(row.kind)
            made = list(converted(row, KINDS[to], pairs=pairs, threshold=threshold))
            counts["no pair"] += not made
            for one in made:
                yield record_of(as_conversation(one) if conversational else one, to)
        _refuse_idle(kinds, to, pairs, threshold)

    written = write_records(Path(output), records())
    return Written(reader.num_read, {str(output): written}, _known(counts))


def _refuse_idle(kinds: set[Kind], to: Target, pairs: PairChoice, threshold: float | None) -> None:
    """Both options say what becomes of K-wise rows, each in a layout of its own."""
    wanted: Mapping[str, tuple[bool, Kind]] = {
        "pairs": (pairs != "all", "pair"),
        "threshold": (threshold is not None, "unpaired"),
    }
    for option, (is_given, kind) in wanted.items():
        if is_given and not (KINDS[to] == kind and "kwise" in kinds):
            raise ConfigError(
                f"has no effect: it turns K-wise rows into the layout `{kind}`",
                where=option,
                fix=f"leave it out, or convert K-wise rows to `{kind}`",
            )


def split(
    source: Data,
    output: Path | str,
    *,
    test: float = 0.1,
    seed: int = 0,
    near: bool = False,
    columns: Mapping[str, str] | None = None,
    progress: Progress = SILENT,
) -> Written:
    """Rows into `train.jsonl` and `test.jsonl` of a folder, so that no prompt stands in both.

    Where a prompt goes depends on its words and the seed alone: rows that are added later move
    nothing. Rows without a prompt go by their responses. Columns stay as they are.

    Args:
        source: as `truing.data.read_rows` takes it.
        output: folder.
        test: share of prompts in the test set, above 0 and below 1.
        seed: another seed is another split.
        near: prompts that are nearly the same stay together too.
        columns: our column name -> the name in the source.
        progress: is shown how far it has come.

    Raises:
        RowError: malformed rows, or one of the two sets would be empty.
        ConfigError: a share that is none.
    """
    if not 0 < test < 1:
        raise ConfigError(f"is {test}, not a share", where="test", fix="give 0 < test < 1")
    reader = RowReader(source, columns=columns)
    rows = [(asked(row), reader.record, row.where) for row in reader]
    texts: dict[str, Where] = {}
    for text, _, where in rows:
        texts.setdefault(text, where)
    keys = _grouped(texts, progress) if near else {text: text for text in texts}
    sides: dict[str, list[Mapping[str, Any]]] = {"train": [], "test": []}
    for text, record, _ in rows:
        sides["test" if _share(seed, keys[text]) < test else "train"].append(record)
    empty = next((side for side, some in sides.items() if not some), None)
    if empty is not None:
        raise RowError(
            f"the {empty} set would be empty: {len(set(keys.values()))} different prompts",
            where=str(source),
            fix="give more rows, another share or another seed",
        )
    files = {str(Path(output) / f"{side}.jsonl"): some for side, some in sides.items()}
    return Written(
        reader.num_read, {name: write_records(Path(name), some) for name, some in files.items()}
    )


def subset(
    source: Data,
    output: Path | str,
    *,
    length: Length = "all",
    model: str | Path | None = None,
    min_gap: float | None = None,
    max_gap: float | None = None,
    per_prompt: int | None = None,
    rows: int | None = None,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
    progress: Progress = SILENT,
) -> Written:
    """Some of the pairs: where the longer (or shorter) response was chosen, by score gap, or fewer.

    What is drawn depends on the content of the rows and the seed alone. Rows keep their order and
    their columns.

    Args:
        source: as `truing.data.read_rows` takes it.
        output: file to write.
        length: "long": chosen is longer, "short": chosen is shorter, "all".
        model: folder or hub name of a tokenizer that measures length; None: characters.
        min_gap: smallest score of chosen minus rejected.
        max_gap: largest.
        per_prompt: at most so many rows of one prompt.
        rows: so many rows in all, to compare subsets of one size.
        seed: of the draw.
        columns: our column name -> the name in the source.
        progress: is shown how far it has come.

    Raises:
        RowError: malformed rows, no row left, or fewer than `rows`.
        ConfigError: rows that are no pairs, a gap where there are no scores, or a tokenizer that
            measures nothing.
    """
    if model is not None and length == "all":
        raise ConfigError(
            "has no effect: it measures length, and rows of every length are kept",
            where="model",
            fix="leave it out, or say length=long or short",
        )
    reader, counts = RowReader(source, columns=columns), Counter[str]()
    kept: list[tuple[Row, Mapping[str, Any]]] = []
    for row in progress.track(reader, total=None, description="reading"):
        if not _is_within(row, min_gap, max_gap):
            counts["score gap"] += 1
        else:
            kept.append((row, reader.record))
    if length != "all":
        signs = _length_signs([row for row, _ in kept], model)
        wanted = 1 if length == "long" else -1
        some = [item for item, sign in zip(kept, signs, strict=True) if sign == wanted]
        counts["length"] += len(kept) - len(some)
        kept = some
    kept = _fewer(kept, per_prompt, rows, seed, counts, str(source))
    written = write_records(Path(output), (record for _, record in kept))
    return Written(reader.num_read, {str(output): written}, _known(counts))


def _is_within(row: Row, lowest: float | None, highest: float | None) -> bool:
    if lowest is None and highest is None:
        return True
    gap = _gap(row)
    return (lowest is None or gap >= lowest) and (highest is None or gap <= highest)


def _fewer(
    kept: list[tuple[Row, Mapping[str, Any]]],
    per_prompt: int | None,
    rows: int | None,
    seed: int,
    counts: Counter[str],
    source: str,
) -> list[tuple[Row, Mapping[str, Any]]]:
    """The limits on how many, in the order of a hash; then the rows in their own order again."""
    order = sorted(range(len(kept)), key=lambda i: _share(seed, str(kept[i][0].row_id)))
    if per_prompt is not None:
        met: Counter[str] = Counter()
        some = []
        for index in order:
            text = asked(kept[index][0])
            met[text] += 1
            if met[text] <= per_prompt:
                some.append(index)
        counts["rows of the same prompt"] += len(order) - len(some)
        order = some
    if rows is not None and len(order) < rows:
        raise RowError(
            f"only {len(order)} rows fit, and {rows} are wanted",
            where=source,
            fix="ask for fewer rows or loosen a condition",
        )
    counts["more than asked for"] += len(order) - (len(order) if rows is None else rows)
    chosen = sorted(order[:rows])
    if not chosen:
        raise RowError("no row is left", where=source, fix="loosen a condition")
    return [kept[i] for i in chosen]


def _known(counts: Counter[str]) -> dict[str, int]:
    return {reason: count for reason, count in counts.items() if count}


def _gap(row: Row) -> float:
    if row.kind != "pair" or row.scores is None:
        what = "is no pair" if row.kind != "pair" else "has no scores"
        raise ConfigError(
            f"{what}, so it has no score gap",
            where=str(row.where),
            fix="give pairs with score_chosen and score_rejected (truing convert makes pairs)",
        )
    return row.scores[0] - row.scores[1]


def _length_signs(rows: list[Row], model: str | Path | None) -> list[int]:
    """1 where chosen is longer, -1 where it is shorter, 0 where both are alike."""
    for row in rows:
        if row.kind != "pair":
            raise ConfigError(
                "is no pair, so it has no longer side",
                where=str(row.where),
                fix="make pairs first: truing convert --to pair",
            )
    if model is None:
        lengths = [[len(said(response)) for response in row.responses] for row in rows]
    else:
        lengths = list(_token_lengths(rows, model))
    return [(one > other) - (one < other) for one, other in lengths]


def _token_lengths(rows: list[Row], model: str | Path) -> Iterator[list[int]]:
    from truing.engine.models import load_tokenizer

    tokeniser = Tokeniser(load_tokenizer(str(model)))
    for start in range(0, len(rows), 1024):
        for item in tokeniser.rows(rows[start : start + 1024]):
            if isinstance(item, Fault):
                raise RowError(item.what, where=item.place, fix=item.fix)
            yield list(item.learned_lengths)


def _grouped(texts: dict[str, Where], progress: Progress) -> dict[str, str]:
    """For each text the first of those that are nearly the same, directly or by a chain."""
    by_place = {where: text for text, where in texts.items()}
    first: dict[str, str] = {}
    sketches = Texts()
    for text, where in texts.items():
        sketches.put(text, where)
    twins = {t.other: t.one for t in near_duplicates(sketches, progress=progress)}
    for text, where in texts.items():
        # A text follows an earlier one only, whose own group is known by then.
        first[text] = first[by_place[twins[where]]] if where in twins else text
    return first


def _share(seed: int, text: str) -> float:
    """A number in [0, 1) that depends on seed and text alone."""
    digest = blake2b(f"{seed}\0{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64
