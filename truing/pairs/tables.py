"""Groups as tables and back: the columns of the manifest.

One row a prompt: prompt, its K responses, their tokens, whether they came to their end, scores,
faults, and which model, sampler and scorer it was.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float

from truing.pairs.select import Scores
from truing.responses.groups import Asked, Group, Said
from truing.responses.scorers import Verdict

Array = np.ndarray
SAMPLED = pa.schema(
    [
        ("prompt", pa.string()),
        ("conversation", pa.bool_()),
        ("tools", pa.string()),
        ("responses", pa.list_(pa.string())),
        ("tokens", pa.list_(pa.int32())),
        ("finished", pa.list_(pa.bool_())),
        ("given", pa.list_(pa.float64())),
        ("model", pa.string()),
        ("sampler", pa.string()),
    ]
)
SCORED = [("scores", pa.list_(pa.float64())), ("faults", pa.list_(pa.string())),
          ("scorer", pa.string())]  # fmt: skip


def sampled_table(groups: Sequence[Group], *, model: str, sampler: str) -> pa.Table:
    """What was sampled."""
    columns = {
        "prompt": [group.prompt.stored() for group in groups],
        "conversation": [group.prompt.is_conversation for group in groups],
        "tools": [group.prompt.tools for group in groups],
        "responses": [[said.text for said in group.responses] for group in groups],
        "tokens": [[said.num_tokens for said in group.responses] for group in groups],
        "finished": [[said.finished for said in group.responses] for group in groups],
        "given": [[said.score for said in group.responses] for group in groups],
        "model": [model] * len(groups),
        "sampler": [sampler] * len(groups),
    }
    return pa.table(columns, schema=SAMPLED)


def groups_of(table: pa.Table) -> list[Group]:
    """The inverse of `sampled_table`; a manifest will do too."""
    return [
        Group(
            Asked.of_stored(row["prompt"], is_conversation=row["conversation"], tools=row["tools"]),
            tuple(
                Said(text, tokens, finished, score)
                for text, tokens, finished, score in zip(
                    row["responses"], row["tokens"], row["finished"], row["given"], strict=True
                )
            ),
        )
        for row in table.select(SAMPLED.names).to_pylist()
    ]


def scored_table(sampled: pa.Table, verdicts: Sequence[Verdict], *, scorer: str) -> pa.Table:
    """What was sampled, with what it is worth; a response without a score has null."""
    scores = [
        [None if math.isnan(score) else score for score in verdict.scores] for verdict in verdicts
    ]
    columns = (scores, [list(verdict.faults) for verdict in verdicts], [scorer] * len(verdicts))
    for (name, kind), values in zip(SCORED, columns, strict=True):
        sampled = sampled.append_column(name, pa.array(values, kind))
    return sampled


def _lists(table: pa.Table, name: str) -> pa.ListArray:
    column = table.column(name).combine_chunks()
    return column if isinstance(column, pa.ListArray) else pa.concat_arrays(column.chunks)


def _square(lengths: Array, flat: Array, fill: object) -> Array:
    """Ragged lists as one matrix, short ones filled up."""
    wide = np.full((len(lengths), int(lengths.max(initial=0))), fill, dtype=flat.dtype)
    wide[np.arange(wide.shape[1])[None, :] < lengths[:, None]] = flat
    return wide


def lengths_of(table: pa.Table) -> Array:
    """K of each prompt."""
    return np.diff(_lists(table, "responses").offsets.to_numpy())


def scores_of(table: pa.Table, *, keep_cut: bool) -> Scores:
    """Scores of a manifest, and which responses may stand in a pair.

    Not those without a score or without a visible sign, not the second of two equal ones of a
    prompt, and not those that were cut before their end, unless `keep_cut`.
    """
    lengths = lengths_of(table)
    flat = _lists(table, "scores").flatten().to_numpy(zero_copy_only=False).astype(float)
    values: Float[Array, "N K"] = _square(lengths, flat, np.nan)
    fit = np.isfinite(flat) & ~_is_empty(table) & ~_is_repeated(table, lengths)
    if not keep_cut:
        fit &= _lists(table, "finished").flatten().to_numpy(zero_copy_only=False)
    eligible: Bool[Array, "N K"] = _square(lengths, fit, False)  # noqa: FBT003
    return Scores(values, eligible)


def _is_empty(table: pa.Table) -> Array:
    from pyarrow import compute

    pc: Any = compute  # its functions are made at run time
    texts = _lists(table, "responses").flatten()
    return pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0).to_numpy(
        zero_copy_only=False
    )


def _is_repeated(table: pa.Table, lengths: Array) -> Array:
    """Whether an equal text of the same prompt stands before it."""
    texts = _lists(table, "responses").flatten()
    codes = texts.dictionary_encode().indices.to_numpy()
    rows = np.repeat(np.arange(len(lengths)), lengths)
    _, first = np.unique(rows * (len(codes) + 1) + codes, return_index=True)
    repeated = np.ones(len(codes), dtype=bool)
    repeated[first] = False
    return repeated


def counts_of(table: pa.Table) -> dict[str, int]:
    """What there is, and what is wrong with it."""
    lengths = lengths_of(table)
    scores = _lists(table, "scores").flatten().to_numpy(zero_copy_only=False).astype(float)
    values = _square(lengths, scores, np.nan)
    known = np.isfinite(values)
    high = np.where(known, values, -np.inf).max(axis=1, initial=-np.inf)
    low = np.where(known, values, np.inf).min(axis=1, initial=np.inf)
    return {
        "prompts": len(lengths),
        "prompts without a response": int((lengths == 0).sum()),
        "prompts whose scores are all equal": int(((known.sum(axis=1) > 1) & (high == low)).sum()),
        "responses": int(lengths.sum()),
        "empty responses": int(_is_empty(table).sum()),
        "repeated responses": int(_is_repeated(table, lengths).sum()),
        "cut responses": int(
            (~_lists(table, "finished").flatten().to_numpy(zero_copy_only=False)).sum()
        ),
        "responses without a score": int((~np.isfinite(scores)).sum()),
    }
