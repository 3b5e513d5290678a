"""Rows back into files: as one of the layouts, or as they were read."""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from truing.data.rows import Kind, Message, Row, Speech
from truing.data.signal import order_of
from truing.errors import ConfigError

Target = Literal["pair", "kwise", "unpaired", "ranking"]
PairChoice = Literal["all", "best_worst"]


def record_of(row: Row, layout: Target) -> dict[str, Any]:
    """A row as a record of a layout that holds its kind.

    Raises:
        ConfigError: a row that the layout cannot hold.
    """
    record = _WRITERS[layout](row)
    return record | ({"tools": json.loads(row.tools)} if row.tools else {})


def _speech(speech: Speech) -> Any:
    return speech if isinstance(speech, str) else [turn.to_dict() for turn in speech]


def _pair(row: Row) -> dict[str, Any]:
    chosen, rejected = row.responses
    record = {"prompt": _speech(row.prompt), "chosen": _speech(chosen)}
    return record | {"rejected": _speech(rejected)} | _pair_numbers(row)


def _pair_numbers(row: Row) -> dict[str, Any]:
    record: dict[str, Any] = {}
    if row.scores is not None:
        record |= {"score_chosen": row.scores[0], "score_rejected": row.scores[1]}
    if row.win_probability is not None:
        chosen, rejected = row.win_probability
        record |= {"win_probability_chosen": chosen, "win_probability_rejected": rejected}
    return record


def _kwise(row: Row) -> dict[str, Any]:
    record = {"prompt": _speech(row.prompt), "responses": [_speech(r) for r in row.responses]}
    if row.scores is not None:
        record["scores"] = list(row.scores)
    if row.win_probability is not None:
        record["win_probabilities"] = list(row.win_probability)
    return record


def _unpaired(row: Row) -> dict[str, Any]:
    record: dict[str, Any] = {
        "prompt": _speech(row.prompt),
        "completion": _speech(row.responses[0]),
        "label": row.label,
    }
    if row.scores is not None:
        record["score"] = row.scores[0]
    if row.win_probability is not None:
        record["win_probability"] = row.win_probability[0]
    return record


_SHAREGPT_ROLES = {"user": "human", "assistant": "gpt", "tool": "observation"}


def _ranking(row: Row) -> dict[str, Any]:
    if isinstance(row.prompt, str):
        raise ConfigError(
            "is plain text, and the layout `ranking` holds conversations",
            where=str(row.where),
            fix="convert with conversational=True (--conversational)",
        )
    one, other = ([*response] for response in row.responses if not isinstance(response, str))
    if len(one) > 1 or len(other) > 1:
        raise ConfigError(
            "has a response of several turns, and the layout `ranking` holds one",
            where=str(row.where),
            fix="convert to the layout `pair`",
        )
    if any(turn.more for turn in (*row.prompt, *one, *other)):
        raise ConfigError(
            "has turns with more than words (tool calls, names ...), and the layout `ranking` "
            "holds words alone",
            where=str(row.where),
            fix="convert to the layout `pair`",
        )
    return {
        "conversations": [_sharegpt(turn) for turn in row.prompt],
        "chosen": _sharegpt(one[0]),
        "rejected": _sharegpt(other[0]),
    } | _pair_numbers(row)


def _sharegpt(turn: Message) -> dict[str, Any]:
    return {"from": _SHAREGPT_ROLES.get(turn.role, turn.role), "value": turn.content}


_WRITERS: dict[Target, Callable[[Row], dict[str, Any]]] = {
    "pair": _pair,
    "kwise": _kwise,
    "unpaired": _unpaired,
    "ranking": _ranking,
}
KINDS: dict[Target, Kind] = {
    "pair": "pair",
    "kwise": "kwise",
    "unpaired": "unpaired",
    "ranking": "pair",
}


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Records as JSON lines, a JSON array or Parquet (by the name, .gz too); how many there were.

    The file is written aside and renamed, so that there is never half of it.

    Raises:
        ConfigError: the name says no format, or the records do not fit into a table.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    kind = suffixes[0] if suffixes[-1:] == [".gz"] and len(suffixes) == 2 else path.suffix.lower()
    writers = {".jsonl": _write_lines, ".json": _write_array, ".parquet": _write_parquet}
    if kind not in writers or (kind == ".parquet" and suffixes[-1] == ".gz"):
        raise ConfigError(
            "has a name that says no format that can be written",
            where=str(path),
            fix="name it .jsonl, .jsonl.gz, .json or .parquet",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.writing")
    try:
        count = writers[kind](aside, records, is_gzip=suffixes[-1:] == [".gz"])
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return count


def _write_lines(path: Path, records: Iterable[Mapping[str, Any]], *, is_gzip: bool) -> int:
    count = 0
    with _opened(path, is_gzip=is_gzip) as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
            count += 1
    return count


def _write_array(path: Path, records: Iterable[Mapping[str, Any]], *, is_gzip: bool) -> int:
    rows = list(records)
    with _opened(path, is_gzip=is_gzip) as file:
        json.dump(rows, file, ensure_ascii=False, indent=1, default=str)
    return len(rows)


def _opened(path: Path, *, is_gzip: bool) -> Any:
    if is_gzip:
        return gzip.open(path, "wt", encoding="utf-8", newline="\n")
    return path.open("w", encoding="utf-8", newline="\n")


def _write_parquet(path: Path, records: Iterable[Mapping[str, Any]], *, is_gzip: bool) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    rows = list(records)
    try:
        parquet.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
    except pa.ArrowException as error:
        raise ConfigError(
            f"the rows do not fit into one table ({str(error)[:160]})",
            where=str(path),
            fix="write .jsonl",
        ) from error
    return len(rows)


def as_conversation(row: Row) -> Row:
    """A plain row as one user turn and one assistant turn; a conversation as it is.

    White space at the ends stays: a template may drop it, the data does not.
    """
    if row.is_conversational:
        return row
    assert isinstance(row.prompt, str)
    return replace(
        row,
        prompt=(Message("user", row.prompt),),
        responses=tuple((Message("assistant", str(text)),) for text in row.responses),
    )


def converted(row: Row, kind: Kind, *, pairs: PairChoice, threshold: float | None) -> Iterator[Row]:
    """The rows of another kind that a row makes.

    Of K responses `pairs` takes all that the scores order, or the best against the worst alone.
    A response is desirable where it was chosen, or where its score is above `threshold`.

    Raises:
        ConfigError: a label is wanted of a score and there is no threshold, or nothing says who
            stands against whom.
    """
    if row.kind == kind:
        yield row
    else:
        yield from _CONVERSIONS[kind](row, pairs, threshold)


def _to_unpaired(row: Row, pairs: PairChoice, threshold: float | None) -> Iterator[Row]:
    if row.kind == "kwise" and (threshold is None or row.scores is None):
        raise ConfigError(
            "has scores and no labels" if row.scores is not None else "has no scores",
            where=str(row.where),
            fix="say from which score on a response is desirable: threshold=... (--threshold)",
        )
    for index, response in enumerate(row.responses):
        one = slice(index, index + 1)
        label = index == 0 if row.kind == "pair" else (row.scores or ())[index] > (threshold or 0)
        yield replace(
            row,
            kind="unpaired",
            responses=(response,),
            scores=None if row.scores is None else row.scores[one],
            win_probability=None if row.win_probability is None else row.win_probability[one],
            label=label,
        )


def _to_kwise(row: Row, pairs: PairChoice, threshold: float | None) -> Iterator[Row]:
    if row.kind != "pair":
        raise _ungrouped(row)
    # Without any number the choice itself is the order; win probabilities need none beside them.
    scores = (1.0, 0.0) if row.scores is None and row.win_probability is None else row.scores
    yield replace(row, kind="kwise", scores=scores)


def _to_pair(row: Row, pairs: PairChoice, threshold: float | None) -> Iterator[Row]:
    if row.kind != "kwise":
        raise _ungrouped(row)
    order = order_of(row)
    if order is None:
        raise ConfigError(
            "has neither scores nor win probabilities, so nothing stands against anything",
            where=str(row.where),
            fix="add `scores`",
        )
    count = range(len(order))
    found = [(i, j) for i in count for j in count if order[i] > order[j]]
    if pairs == "best_worst":
        found = [(order.index(max(order)), order.index(min(order)))] if found else []
    for both in found:
        yield replace(
            row,
            kind="pair",
            responses=tuple(row.responses[i] for i in both),
            scores=None if row.scores is None else tuple(row.scores[i] for i in both),
            win_probability=None
            if row.win_probability is None
            else tuple(row.win_probability[i] for i in both),
        )


def _ungrouped(row: Row) -> ConfigError:
    return ConfigError(
        "is an unpaired row, which stands against nothing",
        where=str(row.where),
        fix="give pairs or K-wise rows",
    )


_CONVERSIONS: dict[Kind, Callable[[Row, PairChoice, float | None], Iterator[Row]]] = {
    "unpaired": _to_unpaired,
    "kwise": _to_kwise,
    "pair": _to_pair,
}
