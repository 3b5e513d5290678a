"""Picks as rows that training reads: pairs, K-wise rows, or single responses."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from truing.pairs.select import Kept, Pairs, Scores, Selector
from truing.pairs.tables import lengths_of, scores_of

# What a selection reads of a manifest.
_READ = ["prompt", "conversation", "tools", "responses", "finished", "scores"]
_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def picked_rows(table: pa.Table, selector: Selector, *, keep_cut: bool) -> pa.Table:
    """What a selector picks of a piece of the manifest, in a layout that training reads."""
    scores = scores_of(table, keep_cut=keep_cut)
    picks = selector(scores)
    flat = _Flat(table, scores)
    return flat.pairs(picks) if isinstance(picks, Pairs) else flat.kept(picks)


class _Flat:
    """A manifest's responses one below the other, and where each prompt's begin."""

    def __init__(self, table: pa.Table, scores: Scores) -> None:
        lengths = lengths_of(table)
        self.starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        self.texts = table.column("responses").combine_chunks().flatten()
        self.table, self.scores = table, scores
        self.is_conversation = bool(len(table)) and table.column("conversation")[0].as_py()

    def pairs(self, picks: Pairs) -> pa.Table:
        """Rows of `prompt`, `chosen`, `rejected`, their scores, and perhaps win probabilities."""
        columns = self._prompts(picks.row)
        for name, place in (("chosen", picks.chosen), ("rejected", picks.rejected)):
            columns[name] = self._responses(self.starts[picks.row] + place)
            columns[f"score_{name}"] = pa.array(self.scores.values[picks.row, place])
        if picks.win is not None:
            columns["win_probability_chosen"] = pa.array(picks.win[:, 0])
            columns["win_probability_rejected"] = pa.array(picks.win[:, 1])
        return pa.table(columns)

    def kept(self, picks: Kept) -> pa.Table:
        """K-wise rows, or rows of `prompt` and `completion`."""
        row, place = np.nonzero(picks.kept)
        responses = self._responses(self.starts[row] + place)
        values = pa.array(self.scores.values[row, place])
        if not picks.together:
            return pa.table(self._prompts(row) | {"completion": responses, "score": values})
        counts = picks.kept.sum(axis=1)
        some = np.flatnonzero(counts)
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts[some])]).astype(np.int32))
        lists = {
            "responses": pa.ListArray.from_arrays(offsets, responses),
            "scores": pa.ListArray.from_arrays(offsets, values),
        }
        return pa.table(self._prompts(some) | lists)

    def _prompts(self, row: np.ndarray) -> dict[str, pa.Array]:
        indices = pa.array(row)
        taken = self.table.column("prompt").combine_chunks().take(indices)
        columns = {"prompt": taken}
        if self.is_conversation:
            turns = [[_turn(turn) for turn in json.loads(text)] for text in taken.to_pylist()]
            columns["prompt"] = pa.array(turns, _TURNS)
        tools = self.table.column("tools").combine_chunks()
        if any(tools.unique().to_pylist()):
            columns["tools"] = tools.take(indices)
        return columns

    def _responses(self, places: np.ndarray) -> pa.Array:
        taken = self.texts.take(pa.array(places))
        if not self.is_conversation:
            return taken
        turns = [[{"role": "assistant", "content": text}] for text in taken.to_pylist()]
        return pa.array(turns, _TURNS)


def _turn(turn: dict[str, str]) -> dict[str, str]:
    return {"role": turn["role"], "content": turn["content"]}


def write_rows(shards: Iterable[Path], selector: Selector, path: Path, *, keep_cut: bool) -> int:
    """Select shard by shard into one Parquet file, written aside and renamed; rows written."""
    aside = path.with_name(f".{path.name}.writing")
    count = 0
    writer: parquet.ParquetWriter | None = None
    try:
        for table in _selected(shards, selector, keep_cut=keep_cut):
            writer = writer or parquet.ParquetWriter(aside, table.schema, compression="zstd")
            writer.write_table(table)
            count += len(table)
    finally:
        if writer is not None:
            writer.close()
    if count:
        aside.replace(path)
    else:
        path.unlink(missing_ok=True)
        aside.unlink(missing_ok=True)
    return count


def _selected(shards: Iterable[Path], selector: Selector, *, keep_cut: bool) -> Iterator[pa.Table]:
    for shard in shards:
        table = parquet.read_table(shard, columns=_READ)
        if len(table):
            yield picked_rows(table, selector, keep_cut=keep_cut)
