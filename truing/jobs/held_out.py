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
from truing.references.texts import response_sums


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
        RowSet(examples, source, is_shortened=prepared.summary.shortened.count > 0),
        progress,
    )
    policy, engine = opened.policy, opened.engine_for(opened.policy, examples)
    scorer = Scorer(opened.objective, engine, Wanted(opened.objective.needs.prompt))
    with opened.in_numbers():
        table = scorer.table(policy, known, progress)
    numbers: dict[str, Any] = {"data": source, **evaluate_pairs(table).to_json()}
    numbers |= _of_sets(opened, known, engine, progress)
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


def _of_sets(opened: OpenRun, known: Rows, engine: Engine, progress: Progress) -> dict[str, Any]:
    """Rank correlation with the scores, over sets of three responses and more; else nothing.

    `rank_correlation` is of the log-ratio to the (first) reference, `policy_rank_correlation` of
    log p alone, each summed over the tokens that carry loss, and `..._per_token` of its mean.
    """
    examples = known.examples
    at = [i for i, row in enumerate(examples) if row.scores and len(row.responses) > 2]
    if not at:
        return {}
    sets = known.at(at)
    with opened.in_numbers():
        logps = fill(opened.policy, sets.examples, engine, progress, "sets of responses")
    scores = np.array([score for row in sets.examples for score in row.scores or ()])
    prompt = np.array([i for i, row in enumerate(sets.examples) for _ in row.responses])
    ones = [np.ones(sum(map(len, row.responses))) for row in sets.examples]
    lengths = np.concatenate(response_sums(ones, sets.examples))
    policy = np.concatenate(response_sums(logps, sets.examples))
    measures = {"policy_rank_correlation": policy}
    against = _first_reference(sets)
    if against is not None:
        measures["rank_correlation"] = policy - np.concatenate(against)
    measures |= {f"{name}_per_token": value / lengths for name, value in measures.items()}
    measures["length_rank_correlation"] = lengths
    found: dict[str, Any] = {"sets": len(sets)}
    for name, value in measures.items():
        found |= rank_correlation(value, scores, prompt).to_json(name)
    return found


def _first_reference(rows: Rows) -> Sequence[np.ndarray] | None:
    """Its sums, one array a row; None where there is no reference."""
    if rows.reference_sums:
        return rows.reference_sums[0]
    first = rows.references[0] if rows.references else None
    return None if first is None else response_sums(first, rows.examples)
