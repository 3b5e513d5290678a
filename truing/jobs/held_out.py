"""Held-out rows scored with a finished run: pairs, and sets of K responses."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from truing.core import Needs
from truing.core.progress import Progress
from truing.data import Example
from truing.engine import Engine, Wanted
from truing.evaluation.kwise import rank_correlation
from truing.evaluation.pairs import PairTable, evaluate_pairs
from truing.jobs.evaluated import ScoredPairs
from truing.jobs.held_references import with_references
from truing.jobs.opened import OpenRun
from truing.jobs.reference_pass import RowSet
from truing.jobs.scoring import Scorer
from truing.jobs.texts import text_numbers
from truing.references.fill import fill
from truing.references.join import Rows


def held_out_numbers(
    opened: OpenRun, source: str, rows: int | None, progress: Progress
) -> tuple[dict[str, Any], ScoredPairs | None]:
    """Every number that held-out rows give, and what the run says of each pair (None of texts).

    Raises:
        RowError: the rows are malformed, or hold no pair.
    """
    are_texts = opened.config.texts
    prepared = opened.reader.read(source, Needs(), progress, are_texts=are_texts)
    examples = list(prepared.examples[:rows])
    if are_texts:
        return {"data": source, **_of_texts(opened, examples, progress)}, None
    known = with_references(
        opened.config,
        opened.reader,
        opened.objective,
        opened.numerics,
        RowSet(examples, source),
        progress,
    )
    values = [tokens for tokens in known.references if tokens is not None]
    policy, engine = opened.policy, opened.engine_for(opened.policy, examples)
    scorer = Scorer(opened.objective, engine, Wanted(opened.objective.needs.prompt))
    with opened.in_numbers():
        table = scorer.table(policy, known, progress)
    numbers: dict[str, Any] = {"data": source, **evaluate_pairs(table).to_json()}
    numbers |= _of_sets(opened, examples, values, engine, progress)
    return numbers, _scored(source, examples, table, opened.marks_of(source, rows))


def _of_texts(opened: OpenRun, examples: list[Example], progress: Progress) -> Mapping[str, Any]:
    """The loss on texts, and what was gained on the start: they are learned without a reference."""
    start = opened.start()
    with opened.in_numbers():
        before = fill(start, examples, opened.engine_for(start, examples), progress, "start")
        del start
        engine = opened.engine_for(opened.policy, examples)
        return text_numbers(opened.policy, engine, Rows(examples, [before]), progress)


def _scored(source: str, examples: list[Example], table: PairTable, marks: str) -> ScoredPairs:
    """A line a pair, named by the row's content and the pair's number within it."""
    keys = [f"{row.row_id:x}:{pair}" for row in examples for pair in range(len(row.pairs))]
    margin = None
    if table.reward_chosen is not None and table.reward_rejected is not None:
        margin = table.reward_chosen - table.reward_rejected
    assert table.prompt is not None, "the scorer numbers prompts"
    return ScoredPairs(
        source,
        tuple(keys),
        table.prompt,
        margin,
        table.logp_chosen - table.logp_rejected,
        table.length_chosen - table.length_rejected,
        marks,
    )


def _of_sets(
    opened: OpenRun,
    examples: list[Example],
    values: Sequence[Sequence[np.ndarray]],
    engine: Engine,
    progress: Progress,
) -> dict[str, Any]:
    """Rank correlation with the scores, over sets of three responses and more; else nothing.

    `rank_correlation` is of the log-ratio to the (first) reference, `policy_rank_correlation` of
    log p alone, each summed, and `..._per_token` of its mean over tokens.
    """
    at = [i for i, row in enumerate(examples) if row.scores and len(row.responses) > 2]
    if not at:
        return {}
    sets = [examples[i] for i in at]
    with opened.in_numbers():
        logps = fill(opened.policy, sets, engine, progress, "sets of responses")
    scores = np.array([score for row in sets for score in row.scores or ()])
    prompt = np.array([i for i, row in enumerate(sets) for _ in row.responses])
    lengths = np.array([len(response) for row in sets for response in row.responses])
    measures = {"policy_rank_correlation": _sums(sets, logps)}
    if values:
        against = [values[0][i] for i in at]
        measures["rank_correlation"] = measures["policy_rank_correlation"] - _sums(sets, against)
    measures |= {f"{name}_per_token": value / lengths for name, value in measures.items()}
    measures["length_rank_correlation"] = lengths.astype(float)
    found: dict[str, Any] = {"sets": len(sets)}
    for name, value in measures.items():
        found |= rank_correlation(value, scores, prompt).to_json(name)
    return found


def _sums(rows: list[Example], values: list[np.ndarray]) -> np.ndarray:
    """Over the tokens of each response."""
    sums: list[float] = []
    for row, value in zip(rows, values, strict=True):
        ends = np.cumsum([len(response) for response in row.responses])[:-1]
        sums += [float(part.astype(float).sum()) for part in np.split(value, ends)]
    return np.array(sums)
