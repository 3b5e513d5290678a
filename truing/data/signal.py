"""Rows that teach nothing: which they are, why, and what an objective asks of a row."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from truing.core.needs import Needs, ResponseKind
from truing.data.rows import Kind, Row, is_empty
from truing.errors import NeedsError

KINDS: dict[Kind, ResponseKind] = {"pair": "pairs", "kwise": "kwise", "unpaired": "unpaired"}
COLUMNS: dict[ResponseKind, str] = {
    "pairs": "`chosen` and `rejected`",
    "kwise": "`responses` and `scores`",
    "unpaired": "`completion` and `label`",
}
SCORES: dict[Kind, str] = {
    "pair": "`score_chosen` and `score_rejected`",
    "kwise": "`scores`",
    "unpaired": "`score`",
}
WINS: dict[Kind, str] = {
    "pair": "`win_probability_chosen`",
    "kwise": "`win_probabilities`",
    "unpaired": "`win_probability`",
}

REASONS = {
    "equal": "equal responses",
    "empty": "an empty response",
    "tie": "equal scores, and the objective needs an order",
    "reversed": "a higher score for the rejected response, and the objective needs an order",
    "not_positive": "a score that is not above zero, and the objective needs them so",
    "no_pair": "no two responses that the scores set apart",
    "undesirable": "labelled undesirable, and this source is to be learned",
    "too_long": "more tokens than max_length",
}
"""Why a row is left out, by the word that `data.json` uses."""


def check_needs(rows: Iterable[Row], needs: Needs) -> None:
    """Whether the rows have what an objective reads; nothing is loaded for it.

    Raises:
        NeedsError: a row lacks a column; the message names it.
    """
    for row in rows:
        check_row(row, needs)


def check_row(row: Row, needs: Needs) -> None:
    """See `check_needs`."""
    kind = KINDS[row.kind]
    if kind not in needs.responses:
        wanted = [COLUMNS[name] for name in COLUMNS if name in needs.responses]
        if not wanted:
            raise NeedsError(
                "the terms of the objective have no kind of rows in common",
                where="objective",
                fix="train them apart, or choose terms that read the same rows",
            )
        raise NeedsError(
            f"the objective reads rows with the columns {' or '.join(wanted)}; "
            f"these have {COLUMNS[kind]}",
            where=str(row.where),
            fix="use other data, another objective, or `truing convert`",
        )
    if needs.scores != "none" and row.scores is None:
        raise _missing("scores", SCORES[row.kind], row)
    if needs.win_probability and row.win_probability is None:
        raise _missing("win probabilities", WINS[row.kind], row)
    if needs.labels and row.kind == "kwise":
        raise _missing("labels", "`completion` and `label`", row)
    if row.kind == "kwise" and row.scores is None and row.win_probability is None:
        raise _missing("scores, which say who stands against whom", SCORES["kwise"], row)


def _missing(what: str, columns: str, row: Row) -> NeedsError:
    return NeedsError(
        f"the objective needs {what}, and the data has no column {columns}",
        where=row.where.file,
        fix=f"add {columns}, map yours with `columns:`, or use another objective",
    )


def without_empty(row: Row) -> Row:
    """A K-wise row without its empty responses; any other row as it is."""
    kept = [i for i, response in enumerate(row.responses) if not is_empty(response)]
    if row.kind != "kwise" or len(kept) == len(row.responses):
        return row

    def pick(values: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return None if values is None else tuple(values[i] for i in kept)

    return replace(
        row,
        responses=tuple(row.responses[i] for i in kept),
        scores=pick(row.scores),
        win_probability=pick(row.win_probability),
    )


def learned(row: Row) -> Row | None:
    """What is to be learned of a row of an auxiliary source: one response, and no other.

    Of a pair the chosen response, of K responses the best, of an unpaired row its response, or
    nothing where it is labelled undesirable.
    """
    if row.kind == "unpaired":
        return None if row.label is False else replace(row, label=True)
    order = (1.0, 0.0) if row.kind == "pair" else (order_of(row) or (1.0,) * len(row.responses))
    best = order.index(max(order))
    return replace(
        row,
        kind="unpaired",
        responses=(row.responses[best],),
        label=True,
        scores=None,
        win_probability=None,
    )


class Judged(Protocol):
    """Anything that a judge's numbers are known of, one a response."""

    @property
    def scores(self) -> tuple[float, ...] | None:
        """A judge's number for each response."""
        ...

    @property
    def win_probability(self) -> tuple[float, ...] | None:
        """A probability for each response."""
        ...


def order_of(row: Judged) -> tuple[float, ...] | None:
    """The numbers that set the responses of a K-wise row apart."""
    return row.scores if row.scores is not None else row.win_probability


def silence_of(row: Row, needs: Needs) -> str | None:
    """Why a row has no signal for an objective (a word of `REASONS`), or None where it has."""
    if row.kind == "kwise":
        order = order_of(row) or ()
        if len(set(order)) < 2:
            return "no_pair"
    elif any(is_empty(response) for response in row.responses):
        return "empty"
    if row.kind == "pair" and row.responses[0] == row.responses[1]:
        return "equal"
    return None if row.scores is None else _silence_of_scores(row.kind, row.scores, needs)


def _silence_of_scores(kind: Kind, scores: tuple[float, ...], needs: Needs) -> str | None:
    if needs.scores == "positive" and min(scores) <= 0:
        return "not_positive"
    if kind == "pair" and needs.scores in {"ordered", "positive"}:
        return "tie" if scores[0] == scores[1] else "reversed" if scores[0] < scores[1] else None
    return None
