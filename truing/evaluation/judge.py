"""How good is a judge: does it agree with people, with itself in the other order, or with length?

P pairs of which it is known which response people hold for the better one. A judge's verdict is
its chance (or 0, 0.5, 1) that the chosen response is the better one: `shown_first` where the
chosen one stood first, `shown_second` where it stood second; one of the two may be missing.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from truing.errors import RowError
from truing.evaluation.bootstrap import (
    RESAMPLES,
    Array,
    Estimate,
    Mean,
    Statistic,
    estimate,
)
from truing.evaluation.pairs import check_columns, flat


@dataclass(frozen=True, eq=False)
class Verdicts:
    """A judge's verdicts on labelled pairs.

    Raises:
        RowError: columns of different lengths, no row, a verdict outside 0 to 1, no verdict.
    """

    length_chosen: Int[Array, "P"]
    length_rejected: Int[Array, "P"]
    shown_first: Float[Array, "P"] | None = None
    shown_second: Float[Array, "P"] | None = None
    votes: Float[Array, "P"] | None = None
    """Share of people who preferred the chosen response, where several were asked."""
    prompt: Int[Array, "P"] | None = None

    def __post_init__(self) -> None:
        places = {"shown_first": self.shown_first, "shown_second": self.shown_second}
        sizes = {"chosen": self.length_chosen, "rejected": self.length_rejected}
        check_columns({**sizes, **places, "votes": self.votes}, "table of verdicts")
        if self.shown_first is None and self.shown_second is None:
            raise RowError(
                "there is no verdict",
                where="table of verdicts",
                fix="give the judge's preference for the chosen response in at least one order",
            )
        for name, column in {**places, "votes": self.votes}.items():
            if column is not None and ((column < 0) | (column > 1)).any():
                row = int(np.argmax((column < 0) | (column > 1)))
                raise RowError(
                    f"`{name}` is {column[row]:g}",
                    where=f"table of verdicts, row {row}",
                    fix="give the chance, 0 to 1, that the chosen response is the better one",
                )

    def __len__(self) -> int:
        """P."""
        return len(self.length_chosen)


@dataclass(frozen=True)
class JudgeQuality:
    """What `judge_quality` found.

    `accuracy`: share of pairs on which the verdict (mean of both orders) is the people's, a tie
    counting half. `longer_wins`: what the rule "the longer one" gets on the same pairs;
    `accuracy_longer`, `accuracy_shorter`: the judge where people prefer the longer, the shorter
    one. `prefers_longer`: how often the judge itself does. `first_place`: mean preference for
    whatever stands first, one half without position bias. `consistency`: share of pairs with the
    same verdict in both orders. `agreement_with_votes`: chance that the judge sides with a
    person drawn at random. `kappa`: Cohen's, of the judge's picks in first or second place
    against the people's.
    """

    pairs: int
    estimates: dict[str, Estimate]
    kappa: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Plain numbers with `NAME_low`, `NAME_high`."""
        kappa = None if np.isnan(self.kappa) else self.kappa
        numbers = {"pairs": self.pairs, **flat(self.estimates), "kappa": kappa}
        return {**numbers, "notes": list(self.notes)}


def judge_quality(table: Verdicts, *, resamples: int = RESAMPLES, seed: int = 0) -> JudgeQuality:
    """Accuracy, agreement, position bias, and how far length alone gets, with intervals."""
    verdict = _mean(table)
    right = 0.5 * (1 + np.sign(verdict - 0.5))
    longer = 0.5 * (1 + np.sign(table.length_chosen - table.length_rejected))
    sided = np.where(longer == 1, right, 1 - right)
    statistics: dict[str, Statistic] = {
        "accuracy": Mean(right, is_share=True),
        "ties": Mean((right == 0.5).astype(float), is_share=True),
        "longer_wins": Mean(longer, is_share=True),
        "accuracy_longer": Mean(right, longer == 1, is_share=True),
        "accuracy_shorter": Mean(right, longer == 0, is_share=True),
        "prefers_longer": Mean(sided, longer != 0.5, is_share=True),
    }
    if table.votes is not None:
        agree = right * table.votes + (1 - right) * (1 - table.votes)
        statistics["agreement_with_votes"] = Mean(agree, is_share=True)
    if table.shown_first is not None and table.shown_second is not None:
        first, second = table.shown_first, table.shown_second
        statistics["first_place"] = Mean(0.5 * (first + 1 - second), is_share=True)
        same = np.sign(first - 0.5) == np.sign(second - 0.5)
        statistics["consistency"] = Mean(same.astype(float), is_share=True)
        statistics["accuracy_shown_first"] = Mean(0.5 * (1 + np.sign(first - 0.5)), is_share=True)
        statistics["accuracy_shown_second"] = Mean(0.5 * (1 + np.sign(second - 0.5)), is_share=True)
    found = estimate(statistics, table.prompt, resamples=resamples, seed=seed)
    return JudgeQuality(len(table), found, _kappa(table), _notes(table, found))


def _mean(table: Verdicts) -> Float[Array, "P"]:
    given = [one for one in (table.shown_first, table.shown_second) if one is not None]
    return np.mean(given, axis=0)


def _picks(table: Verdicts) -> tuple[Array, Array]:
    """What the judge and what people picked, +1 the first place, -1 the second, 0 a tie."""
    ours, theirs = [], []
    if table.shown_first is not None:
        ours.append(np.sign(table.shown_first - 0.5))
        theirs.append(np.ones(len(table)))
    if table.shown_second is not None:
        ours.append(-np.sign(table.shown_second - 0.5))
        theirs.append(-np.ones(len(table)))
    return np.concatenate(ours), np.concatenate(theirs)


def _kappa(table: Verdicts) -> float:
    """Cohen's kappa over both orders; undefined where people's pick is in one place only."""
    from sklearn.metrics import cohen_kappa_score

    ours, theirs = _picks(table)
    if np.ptp(theirs) == 0:
        return np.nan
    return float(cohen_kappa_score(ours.astype(int), theirs.astype(int)))


def _notes(table: Verdicts, found: dict[str, Estimate]) -> tuple[str, ...]:
    ours, _ = _picks(table)
    notes = []
    if len(np.unique(ours)) == 1:
        place = {1.0: "the first place", -1.0: "the second place", 0.0: "a tie"}[float(ours[0])]
        notes.append(f"the judge always says {place}: its verdicts carry no information")
    elif table.shown_first is None or table.shown_second is None:
        notes.append("one order only: position bias and kappa cannot be told")
    elif not found["first_place"].low <= 0.5 <= found["first_place"].high:
        share = found["first_place"].value
        notes.append(f"position bias: it prefers the first place with a mean of {share:.2f}")
    if found["accuracy"].low <= found["longer_wins"].value <= found["accuracy"].high:
        notes.append("its accuracy cannot be told from that of the rule “the longer one wins”")
    elif found["accuracy"].value < found["longer_wins"].value:
        notes.append("the rule “the longer one wins” is better than this judge on these pairs")
    if found["accuracy"].high < 0.5:
        notes.append("it is right less often than a coin")
    return tuple(notes)
