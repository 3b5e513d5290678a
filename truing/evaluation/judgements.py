"""Who wins against whom: a judge's verdicts on pairs of responses, in both orders, with ties.

J verdicts; a row is one look of a judge at two models' responses to one prompt. The preference is
the first response's chance (or a verdict: 1, 0, or 0.5 for a tie).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from truing.errors import ConfigError, RowError
from truing.evaluation.bootstrap import (
    RESAMPLES,
    Array,
    Estimate,
    Mean,
    estimate,
)
from truing.evaluation.pairs import check_columns, check_preferences, flat


@dataclass(frozen=True, eq=False)
class Judgements:
    """Verdicts, a row each.

    Raises:
        RowError: columns of different lengths, no row, a preference outside 0 to 1, a model
            that stands against itself.
    """

    models: tuple[str, ...]
    prompt: Int[Array, "J"]
    first: Int[Array, "J"]
    """Index into `models` of the response that the judge saw first."""
    second: Int[Array, "J"]
    preference: Float[Array, "J"]
    """That the first is better."""
    length_first: Int[Array, "J"] | None = None
    length_second: Int[Array, "J"] | None = None

    def __post_init__(self) -> None:
        columns = {"prompt": self.prompt, "first": self.first, "second": self.second}
        check_columns(columns | {"preference": self.preference}, "table of judgements")
        check_preferences(self.preference, "table of judgements", "the first")
        same = self.first == self.second
        if same.any():
            raise RowError(
                f"`{self.models[self.first[np.argmax(same)]]}` stands against itself",
                where=f"table of judgements, row {int(np.argmax(same))}",
                fix="leave such rows out",
            )

    def __len__(self) -> int:
        """J."""
        return len(self.preference)

    def index(self, model: str) -> int:
        """Number of a model.

        Raises:
            ConfigError: no verdict names it.
        """
        if model not in self.models:
            raise ConfigError(
                f"`{model}` is in no verdict",
                where="judgements",
                fix=f"the models are {', '.join(self.models)}",
            )
        return self.models.index(model)


@dataclass(frozen=True)
class WinRate:
    """One model against another over prompts; rates are fractions.

    A prompt judged in both orders counts once, with the mean of both verdicts. `standard_error`
    is the sample deviation over the root of the number of prompts. `notes` say what to doubt.
    """

    model: str
    baseline: str
    win_rate: Estimate
    standard_error: float
    wins: int
    losses: int
    ties: int
    both_orders: int
    """Prompts that were judged in both orders."""
    swayed: int
    """Of these, prompts on which the order decided: the judge took the same place twice."""
    notes: tuple[str, ...] = ()

    @property
    def prompts(self) -> int:
        """How many were judged."""
        return self.wins + self.losses + self.ties

    @property
    def discrete(self) -> float:
        """Wins and half of the ties, over all."""
        return (self.wins + 0.5 * self.ties) / self.prompts

    def to_json(self) -> dict[str, object]:
        """Plain numbers."""
        counts = {"wins": self.wins, "losses": self.losses, "ties": self.ties}
        orders = {"both_orders": self.both_orders, "swayed_by_order": self.swayed}
        error = None if np.isnan(self.standard_error) else self.standard_error
        return {
            **{"model": self.model, "baseline": self.baseline, "prompts": self.prompts},
            **flat({"win_rate": self.win_rate}),
            **{"standard_error": error, "discrete_win_rate": self.discrete},
            **counts,
            **orders,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class _Met:
    """The prompts on which two models met, a row each, seen from the first of them."""

    prompt: Int[Array, "n"]
    preference: Float[Array, "n"]
    both: Bool[Array, "n"]
    swayed: Bool[Array, "n"]
    length: Float[Array, "n"] | None
    length_other: Float[Array, "n"] | None


def met(table: Judgements, model: str, other: str) -> _Met:
    """All verdicts on two models, joined by prompt.

    Raises:
        RowError: they never met.
    """
    one, two = table.index(model), table.index(other)
    straight = (table.first == one) & (table.second == two)
    swapped = (table.first == two) & (table.second == one)
    rows = straight | swapped
    if not rows.any():
        raise RowError(
            f"no prompt has a verdict on `{model}` and `{other}`",
            where="judgements",
            fix="judge both on the same prompts, or name another baseline",
        )
    names, of_row = np.unique(table.prompt[rows], return_inverse=True)
    ours = np.where(swapped, 1 - table.preference, table.preference)[rows]
    is_first = straight[rows]

    def mean(values: Array, where: Array) -> Array:
        weight = np.bincount(of_row[where], minlength=len(names)).astype(float)
        total = np.bincount(of_row[where], weights=values[where], minlength=len(names))
        return np.divide(total, weight, out=np.full(len(names), np.nan), where=weight > 0)

    in_first, in_second = mean(ours, is_first), mean(ours, ~is_first)
    seen = np.stack([in_first, in_second])
    both = np.asarray(~np.isnan(seen).any(axis=0))
    # First place won and second place lost, or the reverse: the verdict followed the place.
    swayed = both & ((in_first - 0.5) * (in_second - 0.5) < 0)
    lengths: list[Array | None] = [None, None]
    if table.length_first is not None and table.length_second is not None:
        always = np.ones_like(is_first)
        own = np.where(straight, table.length_first, table.length_second)[rows]
        theirs = np.where(straight, table.length_second, table.length_first)[rows]
        lengths = [mean(own.astype(float), always), mean(theirs.astype(float), always)]
    return _Met(names, np.nanmean(seen, axis=0), both, swayed, *lengths)


def win_rate(
    table: Judgements, model: str, baseline: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> WinRate:
    """How often one model's response is preferred to the other's.

    Raises:
        RowError: the two never met.
    """
    found = met(table, model, baseline)
    share = found.preference
    numbers = estimate(
        {"win_rate": Mean(share, is_share=True)}, None, resamples=resamples, seed=seed
    )
    error = share.std(ddof=1) / np.sqrt(len(share)) if len(share) > 1 else np.nan
    return WinRate(
        model,
        baseline,
        numbers["win_rate"],
        float(error),
        wins=int((share > 0.5).sum()),
        losses=int((share < 0.5).sum()),
        ties=int((share == 0.5).sum()),
        both_orders=int(found.both.sum()),
        swayed=int(found.swayed.sum()),
        notes=_notes(table, found, (table.index(model), table.index(baseline))),
    )


def _notes(table: Judgements, found: _Met, two: tuple[int, int]) -> tuple[str, ...]:
    rows = np.isin(table.first, two) & np.isin(table.second, two)
    notes = []
    if len(found.preference) > 1 and np.ptp(table.preference[rows]) == 0:
        always = f"the judge always says {table.preference[rows][0]:g}"
        first = table.models[table.first[rows][0]]
        notes.append(
            f"{always}, whichever response stands first: its verdicts carry no information"
            if np.ptp(table.first[rows])
            else f"{always}, and `{first}` always stands first: whether the response or the place "
            "decided cannot be told"
        )
    if not found.both.all():
        missing = int((~found.both).sum())
        notes.append(
            f"{missing} of {len(found.both)} prompts were judged in one order only: a judge that "
            "favours a place would show here as a win"
        )
    if found.both.any() and found.swayed.mean() > 0.25:
        notes.append(
            f"on {int(found.swayed.sum())} of {int(found.both.sum())} prompts the order decided, "
            "not the responses"
        )
    return tuple(notes)


def head_to_head(
    table: Judgements, *, resamples: int = RESAMPLES, seed: int = 0
) -> Mapping[tuple[str, str], WinRate]:
    """Win rates of all pairs of models that met; (row, column): the row's rate against the column's."""  # noqa: E501
    lower, upper = np.minimum(table.first, table.second), np.maximum(table.first, table.second)
    found: dict[tuple[str, str], WinRate] = {}
    for one, two in sorted(set(zip(lower.tolist(), upper.tolist(), strict=True))):
        names = table.models[one], table.models[two]
        found[names] = win_rate(table, *names, resamples=resamples, seed=seed)
    return found


def from_scores(
    models: tuple[str, ...],
    scores: Float[Array, "R N"],
    lengths: Int[Array, "R N"] | None = None,
    prompt: Int[Array, "N"] | None = None,
) -> Judgements:
    """Verdicts of a score: the higher one wins, equal ones tie; no order, so none can sway it.

    Args:
        models: R names.
        scores: of each model's N responses, the same prompts in the same order.
        lengths: of these responses.
        prompt: which prompt each is to; None: each to its own.
    """
    count = scores.shape[1]
    columns: dict[str, list[Array]] = {"first": [], "second": [], "preference": []}
    sizes: tuple[list[Array], list[Array]] = ([], [])
    for one in range(len(models)):
        for two in range(one + 1, len(models)):
            verdict = 0.5 * (1 + np.sign(scores[one] - scores[two]))
            # Both orders at once: a score is the same in either place.
            for first, second, value in ((one, two, verdict), (two, one, 1 - verdict)):
                columns["first"].append(np.full(count, first))
                columns["second"].append(np.full(count, second))
                columns["preference"].append(value)
                if lengths is not None:
                    sizes[0].append(lengths[first])
                    sizes[1].append(lengths[second])
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    prompts = np.tile(np.arange(count) if prompt is None else prompt, len(columns["first"]))
    if lengths is None:
        return Judgements(models, prompts, **joined)
    return Judgements(models, prompts, **joined, length_first=np.concatenate(sizes[0]),
                      length_second=np.concatenate(sizes[1]))  # fmt: skip
