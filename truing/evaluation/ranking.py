"""Several models on one scale: Bradley-Terry strengths, as Elo ratings too, with intervals.

J verdicts on m models. P(first is preferred) = sigmoid(strength_first - strength_second + place):
a binomial regression (statsmodels) whose errors are clustered by prompt, since verdicts on one
prompt are not independent.

Source: Bradley and Terry 1952, "Rank analysis of incomplete block designs"; Chiang et al. 2024,
arXiv:2403.04132, section 4 (the regression, robust errors).
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.stats import norm

from truing.errors import RowError
from truing.evaluation.bootstrap import CONFIDENCE, Array, Estimate
from truing.evaluation.judgements import Judgements

ELO_OF_ANCHOR = 1000.0
_ELO = 400 / math.log(10)


@dataclass(frozen=True)
class Ranking:
    """Strengths relative to `anchor`, whose own is 0 without an interval.

    `place`: what standing first is worth (log-odds); undefined where no pair was seen in both
    orders. `notes` say why a strength is undefined.
    """

    anchor: str
    strength: dict[str, Estimate]
    place: Estimate
    notes: tuple[str, ...] = ()

    def elo(self, model: str) -> Estimate:
        """Strength as a rating: the anchor stands at 1000, 400 points are odds of ten to one."""
        found = self.strength[model]
        value, low, high = (ELO_OF_ANCHOR + _ELO * v for v in (found.value, found.low, found.high))
        return Estimate(value, low, high, found.number)

    def to_json(self) -> dict[str, object]:
        """Plain numbers; models in order of strength."""
        order = sorted(self.strength, key=lambda name: -_or_least(self.strength[name].value))
        rows = [
            {
                "model": name,
                "prompts": self.strength[name].number,
                **self.strength[name].to_json("strength"),
                **self.elo(name).to_json("elo"),
            }
            for name in order
        ]
        place = self.place.to_json("first_place")
        return {"anchor": self.anchor, "models": rows, **place, "notes": list(self.notes)}


def _or_least(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def bradley_terry(table: Judgements, anchor: str | None = None) -> Ranking:
    """Strengths of all models.

    A model that won or lost everything, or a group of models that never lost to the rest, has no
    finite strength: those outside the anchor's own strongly connected group are undefined, said
    in the notes, and left out of the fit.

    Args:
        table: verdicts; ties count half for each side.
        anchor: the model at 0; None: the first.

    Raises:
        RowError: the anchor's group holds no other model.
        ConfigError: there is no such model.
    """
    anchor = anchor or table.models[0]
    at = table.index(anchor)
    group = _strongly_connected(table)
    inside = group == group[at]
    rows = inside[table.first] & inside[table.second]
    outside = [name for name, is_in in zip(table.models, inside, strict=True) if not is_in]
    notes = [
        f"`{name}` and the models around `{anchor}` did not win and lose against each other, so "
        "it has no finite strength"
        for name in outside
    ]
    if not rows.any():
        raise RowError(
            f"`{anchor}` shares no verdicts with wins on both sides, so there is nothing to rank",
            where="judgements",
            fix="judge more prompts, or name another anchor",
        )
    free = [i for i in range(len(table.models)) if inside[i] and i != at]
    has_place = _both_places(table, rows)
    fitted = _fitted(table, rows, free, has_place=has_place)
    width = float(norm.ppf(0.5 + CONFIDENCE / 2))
    errors = np.sqrt(np.diag(fitted.cov_params()))

    def found(index: int, number: int) -> Estimate:
        value, error = float(fitted.params[index]), float(errors[index])
        return Estimate(value, value - width * error, value + width * error, number)

    nan = math.nan
    strength = {}
    for i, name in enumerate(table.models):
        mine = rows & ((table.first == i) | (table.second == i))
        number = len(np.unique(table.prompt[mine]))
        strength[name] = Estimate(nan, nan, nan, number)
        if i == at:
            strength[name] = Estimate(0.0, nan, nan, number)
        elif i in free:
            strength[name] = found(free.index(i), number)
    if not has_place:
        notes.append("no pair of models was judged in both orders: the place's worth is not known")
    place = found(len(free), int(rows.sum())) if has_place else Estimate(nan, nan, nan, 0)
    return Ranking(anchor, strength, place, tuple(notes))


def _fitted(table: Judgements, rows: Array, free: list[int], *, has_place: bool) -> Any:
    import statsmodels.api as sm
    from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

    columns = [(table.first == i).astype(float) - (table.second == i) for i in free]
    columns += [np.ones(len(table))] if has_place else []
    design = np.stack(columns, axis=1)[rows]
    prompts = np.unique(table.prompt[rows], return_inverse=True)[1]
    model: Any = sm.GLM(table.preference[rows], design, family=sm.families.Binomial())
    clustered = {"cov_type": "cluster", "cov_kwds": {"groups": prompts}}
    with warnings.catch_warnings():
        # Models that won and lost are never separated; where all tie, the fit is perfect.
        warnings.simplefilter("ignore", PerfectSeparationWarning)
        return model.fit(**(clustered if len(np.unique(prompts)) > 1 else {}))


def _both_places(table: Judgements, rows: Array) -> bool:
    seen = set(zip(table.first[rows].tolist(), table.second[rows].tolist(), strict=True))
    # A place is told from strength only where verdicts differ from each other at all.
    return any((two, one) in seen for one, two in seen) and bool(np.ptp(table.preference[rows]))


def _strongly_connected(table: Judgements) -> Array:
    """Groups in which every model has beaten every other, directly or through others."""
    count = len(table.models)
    ahead, behind = table.preference > 0, table.preference < 1
    winner = np.concatenate([table.first[ahead], table.second[behind]])
    loser = np.concatenate([table.second[ahead], table.first[behind]])
    beaten = sparse.csr_array((np.ones(len(winner)), (winner, loser)), shape=(count, count))
    return connected_components(beaten, directed=True, connection="strong")[1]
