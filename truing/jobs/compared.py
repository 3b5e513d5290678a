"""Measures of several runs on rows and prompts that they share, and the differences between them.

R runs, P pairs, N responses; row i is the same row or prompt in every run.
"""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from truing.evaluation.bootstrap import Correlation, Estimate, Mean, Statistic, estimate
from truing.evaluation.generations import length_controlled_wins
from truing.evaluation.significance import Difference, mcnemar, paired_bootstrap
from truing.evaluation.wording import repetition, wording
from truing.jobs.evaluated import Generated, ScoredPairs
from truing.report.compared import Measured


@dataclass(frozen=True)
class Table:
    """What was measured of all runs, and told apart."""

    measures: tuple[Measured, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


_PAIR_WORDS = {
    "reward_accuracy": ("Reward accuracy", "share of held-out pairs with the higher reward chosen"),
    "reward_accuracy_chosen_longer": ("… where chosen is longer", ""),
    "reward_accuracy_chosen_shorter": ("… where chosen is shorter", "length cannot help here"),
    "policy_accuracy": ("Policy accuracy", "the same by log p alone, without reference"),
    "margin_length_correlation": (
        "Margin follows length",
        "correlation of the reward margin with the length difference",
    ),
}


def pair_measures(names: Sequence[str], pairs: Sequence[ScoredPairs]) -> Table:
    """Accuracies of all runs on the same pairs, McNemar's test between them."""
    groups = pairs[0].prompt
    found = [estimate(_of_pairs(one), groups) for one in pairs]
    shares = {"reward_accuracy", "policy_accuracy", *(n for n in _PAIR_WORDS if "chosen" in n)}
    measures = [
        Measured(key, title, tuple(one.get(key) for one in found), key in shares, words)
        for key, (title, words) in _PAIR_WORDS.items()
        if any(key in one for one in found)
    ]
    differences: list[Difference] = []
    hits: dict[str, Callable[[ScoredPairs], np.ndarray | None]] = {
        "reward_accuracy": lambda one: None if one.margin is None else one.margin > 0,
        "policy_accuracy": lambda one: one.policy_gap > 0,
    }
    for measure, of in hits.items():
        for (name, one), (other_name, other) in combinations(zip(names, pairs, strict=True), 2):
            mine, theirs = of(one), of(other)
            if mine is not None and theirs is not None:
                told = (measure, name, other_name)
                differences.append(mcnemar(told, mine, theirs, groups))
    return Table(tuple(measures), tuple(differences), ())


def _of_pairs(one: ScoredPairs) -> dict[str, Statistic]:
    found: dict[str, Statistic] = {
        "policy_accuracy": Mean((one.policy_gap > 0).astype(float), is_share=True)
    }
    if one.margin is None:
        return found
    right = (one.margin > 0).astype(float)
    difference = one.length_difference
    return found | {
        "reward_accuracy": Mean(right, is_share=True),
        "reward_accuracy_chosen_longer": Mean(right, difference > 0, is_share=True),
        "reward_accuracy_chosen_shorter": Mean(right, difference < 0, is_share=True),
        "margin_length_correlation": Correlation(one.margin, difference.astype(float)),
    }


_REPLY_WORDS = {
    "score": ("Score", ""),
    "win_rate": ("Win rate against the start", "by score; a tie counts one half"),
    "length_controlled_win_rate": (
        "Length-controlled win rate",
        "as it would be if the responses were as long as the start's (light form)",
    ),
    "kl": ("KL to the reference, nats", "of whole responses, by the low-variance estimator"),
    "length": ("Length, tokens", ""),
    "repetition": ("Repetition", "share of 4-grams that the response said before"),
    "cut": ("Cut at the limit", ""),
    "surprise": ("Entropy, nats a token", "estimated from the sampled tokens"),
    "distinct_2": ("Distinct 2-grams", "over equally many tokens of each run; no interval"),
}
_REPLY_SHARES = {"win_rate", "length_controlled_win_rate", "repetition", "cut", "distinct_2"}
_TESTED = ("score", "kl", "length", "repetition")


def reply_measures(
    names: Sequence[str], said: Sequence[Generated], start: Generated | None
) -> Table:
    """Score, distance, length and wording of all runs' responses to the same prompts."""
    prompt = said[0].table().prompt
    budget = min(sum(len(r.tokens) for r in one.responses) for one in said)
    columns = [_columns(one, start) for one in said]
    found: list[dict[str, Estimate]] = []
    notes: dict[str, None] = {}
    for one, values in zip(said, columns, strict=True):
        shares = ("cut", "win_rate")
        means = {key: Mean(v, is_share=key in shares) for key, v in values.items()}
        numbers = estimate(means, prompt)
        extra, told = _whole(one, start, budget)
        found.append(numbers | extra)
        notes |= dict.fromkeys(told)
    measures = [
        Measured(key, title, tuple(one.get(key) for one in found), key in _REPLY_SHARES, words)
        for key, (title, words) in _REPLY_WORDS.items()
        if any(key in one for one in found)
    ]
    differences = [
        paired_bootstrap((key, names[i], names[j]), columns[i][key], columns[j][key], prompt)
        for key in _TESTED
        for i, j in combinations(range(len(names)), 2)
        if key in columns[i] and key in columns[j]
    ]
    return Table(tuple(measures), tuple(differences), tuple(notes))


def _columns(one: Generated, start: Generated | None) -> dict[str, np.ndarray]:
    """A number a response."""
    table, ratios = one.table(), one.log_ratios()
    found = {
        "length": table.length.astype(float),
        "cut": table.cut.astype(float),
        "repetition": np.array([repetition(reply.tokens) for reply in one.responses]),
    }
    if table.score is not None:
        found["score"] = table.score
        theirs = None if start is None else start.table().score
        if theirs is not None:
            found["win_rate"] = 0.5 * (1 + np.sign(table.score - theirs))
    if ratios is not None:
        k3 = np.expm1(-ratios.log_ratio) + ratios.log_ratio
        found["kl"] = np.bincount(ratios.response, weights=k3, minlength=len(table))
    return found


def _whole(
    one: Generated, start: Generated | None, budget: int
) -> tuple[dict[str, Estimate], list[str]]:
    """What is no mean over responses."""
    table = one.table()
    logp = np.array([reply.logp for reply in one.responses])
    worded = wording(
        [reply.tokens for reply in one.responses],
        table.cut,
        None if np.isnan(logp).any() else logp,
        table.prompt,
        budget=budget,
    )
    distinct = worded.of_all["distinct_2"]
    found = {"distinct_2": Estimate(distinct, np.nan, np.nan, len(table))}
    if "surprise" in worded.estimates:
        found["surprise"] = worded.estimates["surprise"]
    theirs = None if start is None else start.table()
    if table.score is None or theirs is None or theirs.score is None:
        return found, []
    controlled = length_controlled_wins(table, theirs)
    found["length_controlled_win_rate"] = controlled.win_rate
    return found, [f"length control: {note}" for note in controlled.notes]


def method_of(objective: str) -> str:
    """An objective without its beta: runs at several strengths are points of one method."""
    try:
        tree = ast.parse(objective, mode="eval")
    except SyntaxError:  # the run file was changed by hand; the page still opens
        return objective
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        call.keywords = [knob for knob in call.keywords if knob.arg != "beta"]
    return ast.unparse(tree)
