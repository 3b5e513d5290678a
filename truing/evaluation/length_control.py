"""The win rate that a model would have if its responses were as long as the baseline's.

n instructions of one model against one baseline. The formula is AlpacaEval 2's (Dubois et al.
2024, arXiv:2404.04475, section 3), the fit scikit-learn's regularised logistic regression:

    logit P(model wins on x) = phi * tanh(d_x / s) + psi * g_x + theta

d_x: length of the baseline's response less that of the model's (characters there, any unit here);
s: sample standard deviation of d over the model's rows; g_x: difficulty of the instruction, a
fixed table; theta: the model's quality. Set d to 0 and average over x: that is the length-
controlled win rate. The light form leaves psi * g_x out.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.special import expit

from truing.errors import RowError
from truing.evaluation.bootstrap import CONFIDENCE, Array, Estimate
from truing.evaluation.pairs import check_columns, check_preferences

VERSIONS_WEIGHT = 0.2  # of all rows of the baseline's versions together, as AlpacaEval 2 has it
_STRENGTHS = np.logspace(-4, 4, 10)
_FOLDS = 5
_RESAMPLES = 200
WEAK = 100.0  # the strength that cross-validation mostly ends near
_TOO_FEW = 20  # instructions below which three coefficients say nothing


@dataclass(frozen=True, eq=False)
class Against:
    """One model's responses judged against the baseline's, a row a response.

    Raises:
        RowError: columns of different lengths, no row, a value that is not finite, a preference
            outside 0 to 1.
    """

    preference: Float[Array, "n"]
    """Probability or verdict that the model's response is the better one; a tie is one half."""
    length: Int[Array, "n"]
    length_baseline: Int[Array, "n"]
    difficulty: Float[Array, "n"] | None = None
    """g of each instruction; None: the light form."""
    prompt: Int[Array, "n"] | None = None
    """Which instruction is responded to; rows of one are resampled together. None: each its own."""

    def __post_init__(self) -> None:
        columns = {"preference": self.preference, "of_model": self.length}
        columns |= {"of_baseline": self.length_baseline, "difficulty": self.difficulty}
        columns |= {"prompt": self.prompt}
        check_columns(columns, "table of judgements")
        check_preferences(self.preference, "table of judgements", "the model's")

    def __len__(self) -> int:
        """n."""
        return len(self.preference)

    @cached_property
    def group(self) -> Int[Array, "n"]:
        """The instructions numbered from 0."""
        if self.prompt is None:
            return np.arange(len(self))
        return np.unique(self.prompt, return_inverse=True)[1]

    @property
    def num_prompts(self) -> int:
        """How many different instructions."""
        return int(self.group.max()) + 1

    @property
    def difference(self) -> Float[Array, "n"]:
        """d: baseline's length less the model's."""
        return (self.length_baseline - self.length).astype(float)


@dataclass(frozen=True)
class LengthControlled:
    """What the regression found; rates are fractions, not percent.

    `standard_error` is AlpacaEval's (spread of the controlled predictions over instructions; 0 in
    the light form, where they are all alike); the interval of `win_rate` is a bootstrap over
    instructions with the regression fitted anew, and is the one to trust.
    """

    win_rate: Estimate
    standard_error: float
    length: float
    """phi."""
    difficulty: float | None
    """psi; None in the light form."""
    quality: float
    """theta."""
    errors: tuple[float, ...]
    """Standard errors of phi, psi (if any) and theta, by the bootstrap."""
    strength: float
    """C, inverse strength of the L1 penalty."""
    notes: tuple[str, ...] = ()
    """What is undefined, estimated or doubtful about these numbers."""

    def to_json(self) -> dict[str, object]:
        """Plain numbers; None where undefined."""
        numbers = {
            "length_controlled_standard_error": self.standard_error,
            "phi_length": self.length,
            "psi_difficulty": self.difficulty,
            "theta_quality": self.quality,
        }
        plain = {k: None if v is None or math.isnan(v) else float(v) for k, v in numbers.items()}
        controlled = self.win_rate.to_json("length_controlled_win_rate")
        return {**controlled, **plain, "notes": list(self.notes)}


def controlled_win_rate(
    length: float, difficulty: float, quality: float, table: Float[Array, "n"]
) -> tuple[float, float]:
    """Win rate at equal lengths, and AlpacaEval's standard error of it, from coefficients alone.

    Args:
        length: phi; at equal lengths it plays no part, and is taken to say so.
        difficulty: psi.
        quality: theta.
        table: g of each instruction.
    """
    del length
    chances = expit(difficulty * table + quality)
    return float(chances.mean()), float(chances.std(ddof=1) / np.sqrt(len(chances)))


def length_controlled(
    rows: Against,
    versions: Sequence[Against] = (),
    *,
    strength: float | None = None,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> LengthControlled:
    """Fit the regression for one model and set the length difference to zero.

    Args:
        rows: the model against the baseline.
        versions: other versions of the baseline itself against the baseline (AlpacaEval 2: a
            verbose and a concise one). They share phi and psi but not theta, each row weighing
            `VERSIONS_WEIGHT / number of versions`: they hold phi and psi where the model alone
            says little.
        strength: C of the L1 penalty; None: chosen by cross-validation, as AlpacaEval does.
        resamples: of the bootstrap over instructions; 0: no interval.
        seed: of folds and resamples.

    Raises:
        RowError: a version has no difficulty where the rows have one, or the reverse.
    """
    _check_versions(rows, versions)
    undefined = _undefined(rows, versions)
    if undefined:
        return undefined
    design, target, weight = _design(rows, versions)
    notes = _notes(rows, versions)
    if strength is None:
        alone = np.arange(len(target) - len(rows)) + rows.num_prompts
        groups = np.concatenate([rows.group, alone])
        strength = _chosen_strength(design, target, weight, groups, seed)
    found = _fit(design, target, weight, strength)
    rate, error = _rate(rows, found)
    spread, errors = (math.nan, math.nan), (math.nan,) * len(found)
    # Where one side always wins every fit is the penalty's: its resamples would all agree.
    if resamples and rows.num_prompts > 1 and np.ptp(rows.preference) > 0:
        spread, errors = _bootstrap(rows, (design, target, weight), strength, resamples, seed)
    has_difficulty = rows.difficulty is not None
    return LengthControlled(
        Estimate(rate, *spread, len(rows)),
        error,
        float(found[0]),
        float(found[1]) if has_difficulty else None,
        float(found[-1]),
        errors,
        float(strength),
        notes,
    )


def _check_versions(rows: Against, versions: Sequence[Against]) -> None:
    if any((one.difficulty is None) != (rows.difficulty is None) for one in versions):
        raise RowError(
            "difficulty is given for some rows only",
            where="table of judgements",
            fix="give the difficulty of each instruction everywhere, or nowhere (light form)",
        )


def _undefined(rows: Against, versions: Sequence[Against]) -> LengthControlled | None:
    """Why there is no such win rate, where there is none."""
    reason = ""
    if len(rows) < 2 or np.ptp(rows.difference) == 0:
        reason = (
            "all length differences to the baseline are equal, so length cannot be told apart "
            "from quality: length control is undefined"
        )
    if any(np.ptp(one.difference) == 0 for one in versions):
        reason = "a version of the baseline has constant length differences: undefined"
    if not reason:
        return None
    nan = math.nan
    nothing = Estimate(nan, nan, nan, len(rows))
    blank = LengthControlled(nothing, nan, nan, nan, nan, (), nan, (reason,))
    return replace(blank, difficulty=None) if rows.difficulty is None else blank


def _notes(rows: Against, versions: Sequence[Against]) -> tuple[str, ...]:
    found = []
    if rows.difficulty is None:
        found.append("light form: no instruction terms, so the controlled rate is sigmoid(theta)")
    if not versions:
        found.append(
            "no versions of the baseline join the fit: the length term rests on this model's rows "
            "alone and is unsure where it nearly always wins or loses"
        )
    if np.ptp(rows.preference) == 0:
        found.append(
            f"every preference is {rows.preference[0]:g}: the judge always says the same, and the "
            "controlled rate is held finite by the penalty only, so it has no interval"
        )
    if rows.num_prompts < _TOO_FEW:
        found.append(f"{rows.num_prompts} instructions are too few for a regression to be trusted")
    return tuple(found)


Problem = tuple[Float[Array, "r f"], Float[Array, "r"], Float[Array, "r"]]


def _design(rows: Against, versions: Sequence[Against]) -> Problem:
    """Columns tanh(d/s), g (if any), 1 for the model's own rows; targets; weights."""
    designs, weights = [], []
    for index, group in enumerate([rows, *versions]):
        own = index == 0
        columns = [np.tanh(group.difference / group.difference.std(ddof=1))]
        columns += [] if group.difficulty is None else [group.difficulty]
        columns.append(np.full(len(group), float(own)))
        designs.append(np.stack(columns, axis=1))
        weights.append(np.full(len(group), 1.0 if own else VERSIONS_WEIGHT / len(versions)))
    target = np.concatenate([group.preference for group in [rows, *versions]]).astype(float)
    return np.concatenate(designs), target, np.concatenate(weights)


def _twice(
    design: Float[Array, "r f"], target: Float[Array, "r"], weight: Float[Array, "r"]
) -> Problem:
    """Each row as a win with weight p and as a loss with weight 1 - p."""
    both = np.concatenate([np.ones(len(target)), np.zeros(len(target))])
    weights = np.concatenate([weight * target, weight * (1 - target)])
    return np.concatenate([design, design]), both, weights


def _fit(
    design: Float[Array, "r f"],
    target: Float[Array, "r"],
    weight: Float[Array, "r"],
    strength: float,
) -> Float[Array, "f"]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    doubled, wins, weights = _twice(design, target, weight)
    kept = weights > 0
    if len(np.unique(wins[kept])) < 2:
        # One class only: what is left of the other keeps the likelihood proper.
        weights, kept = np.maximum(weights, 1e-6), np.ones_like(kept)
    model = LogisticRegression(
        l1_ratio=1.0,
        C=strength,
        solver="liblinear",
        fit_intercept=False,
        tol=1e-5,
        max_iter=1000,
        random_state=0,
    )
    with warnings.catch_warnings():
        # Where one side nearly always wins the optimum is flat: more steps change no rate.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(doubled[kept], wins[kept], sample_weight=weights[kept])
    return model.coef_[0]


def _chosen_strength(
    design: Float[Array, "r f"],
    target: Float[Array, "r"],
    weight: Float[Array, "r"],
    groups: Int[Array, "r"],
    seed: int,
) -> float:
    """The inverse strength with the least weighted log loss on left-out groups of rows."""
    from sklearn.metrics import log_loss
    from sklearn.model_selection import GroupKFold

    number = int(groups.max()) + 1
    if number < 2:  # nothing can be left out
        return WEAK
    folds = GroupKFold(min(_FOLDS, number), shuffle=True, random_state=seed)
    losses = np.zeros(len(_STRENGTHS))
    for inside, outside in folds.split(design, groups=groups):
        left = _twice(design[outside], target[outside], weight[outside])
        for index, strength in enumerate(_STRENGTHS):
            found = _fit(design[inside], target[inside], weight[inside], strength)
            losses[index] += log_loss(
                left[1], expit(left[0] @ found), sample_weight=left[2], labels=[0, 1]
            )
    return float(_STRENGTHS[np.argmin(losses)])


def _rate(rows: Against, found: Float[Array, "f"]) -> tuple[float, float]:
    if rows.difficulty is None:
        return float(expit(found[-1])), 0.0
    return controlled_win_rate(found[0], found[1], found[-1], rows.difficulty)


def _bootstrap(
    rows: Against, problem: Problem, strength: float, resamples: int, seed: int
) -> tuple[tuple[float, float], tuple[float, ...]]:
    """Interval of the rate and errors of the coefficients: instructions drawn anew, fitted anew."""
    design, target, weight = problem
    random = np.random.default_rng(seed)
    rates, coefficients = [], []
    prompts = rows.num_prompts
    for _ in range(resamples):
        # Versions are drawn too: their judgements are no less a sample than the model's.
        own = random.multinomial(prompts, np.full(prompts, 1 / prompts))[rows.group]
        others = len(target) - len(rows)
        rest = random.multinomial(others, np.full(others, 1 / others)) if others else np.zeros(0)
        found = _fit(design, target, weight * np.concatenate([own, rest]), strength)
        coefficients.append(found)
        chances = _chances(rows, found)
        rates.append(float(np.average(chances, weights=own)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(rates, [tail, 1 - tail])
    errors = np.std(coefficients, axis=0, ddof=1)
    return (float(low), float(high)), tuple(float(error) for error in errors)


def _chances(rows: Against, found: Float[Array, "f"]) -> Float[Array, "n"]:
    if rows.difficulty is None:
        return np.full(len(rows), expit(found[-1]))
    return expit(found[1] * rows.difficulty + found[-1])


def estimated_difficulty(
    preference: Float[Array, "J"],
    instruction: Int[Array, "J"],
    model: Int[Array, "J"],
) -> Float[Array, "X"]:
    """g of each instruction, estimated from several models' rows, where no table is known.

    A joint logistic regression with a term for each model and one for each instruction, the
    latter drawn to 0 by a normal prior of precision 1; centred and scaled to deviation 1, so psi
    is free. An instruction on which the baseline is hard to beat gets a low g.

    Args:
        preference: that the model's response is the better one, 0 to 1.
        instruction: numbered from 0.
        model: numbered from 0.

    Raises:
        RowError: fewer than two models: difficulty would be the model's own noise.
    """
    from sklearn.linear_model import LogisticRegression

    models = int(model.max()) + 1
    if models < 2:
        raise RowError(
            "difficulty of instructions cannot be told from one model alone",
            where="table of judgements",
            fix="give judgements of several models, or take the light form",
        )
    instructions = int(instruction.max()) + 1

    rows = np.arange(len(preference))
    by_instruction = sparse.csr_array(
        (np.ones(len(rows)), (rows, instruction)), shape=(len(rows), instructions)
    )
    # The models' own terms are hardly penalised: their columns are scaled up.
    by_model = sparse.csr_array((np.full(len(rows), 10.0), (rows, model)), (len(rows), models))
    design = sparse.csr_matrix(sparse.hstack([by_instruction, by_model]))
    doubled = sparse.vstack([design, design])
    wins = np.concatenate([np.ones(len(rows)), np.zeros(len(rows))])
    weights = np.concatenate([preference, 1 - preference])
    fitted = LogisticRegression(C=1.0, fit_intercept=False, max_iter=1000)
    fitted.fit(sparse.csr_matrix(doubled), wins, sample_weight=weights)
    found = fitted.coef_[0, :instructions]
    spread = found.std()
    return (found - found.mean()) / (spread if spread > 0 else 1.0)
