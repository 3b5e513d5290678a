"""`truing judge`: a judge's verdicts on pairs that people have judged."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from truing.data import RowReader
from truing.data.rows import Row, Speech, said
from truing.errors import RowError
from truing.evaluation.judge import Verdicts, judge_quality
from truing.jobs.scores import score_of
from truing.jobs.verdict_rows import Rows, finite, has_column
from truing.responses.groups import Asked

_FORM = (
    "write rows with chosen, rejected, and `judge` (its chance for chosen where that stood first) "
    "or `judge_swapped` (where it stood second), or give --score"
)
_VOTES = (
    "give `votes` in every row: the share of people for chosen, 0 to 1, or the list of their "
    "labels (0 for a tie), of which the commonest is taken for chosen"
)


def judge(path: Path, score: str | None = None) -> dict[str, Any]:
    """A judge against people: its verdicts stand in the file, or are made here by a score.

    Rows are pairs in any layout that training reads, texts or turns, with `judge` and
    `judge_swapped` where no score is given. `votes` may stand beside them: the share of people
    for chosen, or a list of their labels, 0 for a tie; the commonest other label is then taken
    for that of the chosen response.

    Raises:
        RowError: malformed rows, rows that are no pairs, a verdict that is no number.
    """
    pairs, rows = _pairs(path)
    orders = _by_score(pairs, score) if score is not None else _by_columns(rows)
    votes, notes = _votes(rows)
    prompts: dict[Speech | int, int] = {}
    table = Verdicts(
        np.array([len(said(row.responses[0])) for row in pairs]),
        np.array([len(said(row.responses[1])) for row in pairs]),
        *orders,
        votes,
        # Rows without a prompt have nothing in common.
        np.array(
            [prompts.setdefault(row.prompt or i, len(prompts)) for i, row in enumerate(pairs)]
        ),
    )
    found = judge_quality(table).to_json()
    told: Any = found["notes"]
    return {**found, "notes": [*told, *notes]}


def _pairs(path: Path) -> tuple[list[Row], Rows]:
    """The pairs, and the same rows as their file has them."""
    pairs: list[Row] = []
    rows = []
    reader = RowReader(path)
    for row in reader:
        if row.kind != "pair":
            raise RowError(f"is no pair but {row.kind}", where=str(row.where), fix=_FORM)
        pairs.append(row)
        rows.append((str(row.where), reader.record))
    return pairs, rows


def _by_score(pairs: Sequence[Row], expression: str) -> tuple[np.ndarray, np.ndarray]:
    """The higher score wins, in either place."""
    score = score_of(expression)
    asked = [Asked(row.prompt, row.tools) for row in pairs]
    sides = [
        np.array(
            score(
                [
                    (prompt, said(row.responses[side]), True)
                    for prompt, row in zip(asked, pairs, strict=True)
                ]
            )
        )
        for side in (0, 1)
    ]
    verdict = 0.5 * (1 + np.sign(sides[0] - sides[1]))
    return verdict, verdict


def _by_columns(rows: Rows) -> tuple[np.ndarray | None, np.ndarray | None]:
    found = [
        np.array([finite(row, name, where, _FORM) for where, row in rows])
        if has_column(rows, name, _FORM)
        else None
        for name in ("judge", "judge_swapped")
    ]
    if all(one is None for one in found):
        raise RowError("there is no verdict", where=rows[0][0], fix=_FORM)
    return found[0], found[1]


def _votes(rows: Rows) -> tuple[np.ndarray | None, list[str]]:
    """The share of people for the chosen response, where it is known, and what is assumed."""
    if not has_column(rows, "votes", _VOTES):
        return None, []
    shares = [
        _share(row["votes"], where)
        if isinstance(row["votes"], Sequence) and not isinstance(row["votes"], str)
        else finite(row, "votes", where, _VOTES)
        for where, row in rows
    ]
    are_lists = any(isinstance(row["votes"], Sequence) for _, row in rows)
    assumed = "`votes` are lists of labels: the commonest (but 0, a tie) is taken for chosen"
    return np.array(shares), [assumed] if are_lists else []


def _share(labels: Sequence[Any], where: str) -> float:
    """Of a list of labels: those for the commonest one, and half of the ties."""
    if not labels or not all(isinstance(one, int) and one >= 0 for one in labels):
        raise RowError(f"`votes` is {list(labels)!r:.60}", where=where, fix=_VOTES)
    counts = Counter(labels)
    ties = counts.pop(0, 0)
    most = counts.most_common(2)
    if not most or (len(most) > 1 and most[0][1] == most[1][1]):
        raise RowError(
            f"`votes` is {list(labels)!r:.60}: no label is the commonest, so it is not known "
            "which one is for chosen",
            where=where,
            fix=_VOTES,
        )
    return (most[0][1] + 0.5 * ties) / len(labels)
