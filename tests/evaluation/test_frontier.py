"""Reward against KL, and the KL itself against exact values."""

import json
from itertools import product

import numpy as np
import pytest

from truing.evaluation import (
    Generations,
    LogRatios,
    Measured,
    evaluate_generations,
    frontier,
    on_frontier,
)


def test_a_run_is_on_the_frontier_if_none_is_as_good_for_no_more():
    kl = np.array([1.0, 2.0, 3.0, 2.0, 0.5])
    score = np.array([1.0, 3.0, 2.0, 3.0, -1.0])
    # The second and fourth are the same point; the third is behind both.
    assert on_frontier(kl, score).tolist() == [True, True, False, True, True]


def measured(run, method, score, kl, noise=0.1):
    rng = np.random.default_rng(len(run))
    return Measured(
        run, method, score + noise * rng.normal(size=400), kl + noise * rng.normal(size=400)
    )


def test_the_pareto_share_is_the_share_of_the_frontier_that_a_method_holds():
    found = frontier(
        [
            measured("a", "dpo", 1.0, 1.0),
            measured("bb", "dpo", 1.0, 3.0),
            measured("ccc", "odpo", 2.0, 2.0),
            measured("dddd", "odpo", 3.0, 4.0),
        ]
    )
    shares = {name: share.value for name, share in found.shares.items()}
    assert shares == pytest.approx({"dpo": 1 / 3, "odpo": 2 / 3})
    assert [point.is_on for point in found.points] == [True, False, True, True]
    assert found.points[1].chance < 0.01
    assert found.shares["dpo"].number == 2


def test_runs_that_noise_alone_separates_are_on_the_frontier_in_part_of_the_resamples():
    found = frontier([measured("a", "x", 1.0, 1.0, 2.0), measured("bb", "y", 1.02, 1.0, 2.0)])
    assert 0.1 < found.points[0].chance < 1.0
    low_high = [(share.low, share.high) for share in found.shares.values()]
    assert (0.0, 1.0) in low_high


class Tabular:
    """Next-token chances by the last token of four, one the end; at most 4."""

    END, LONGEST = 3, 4

    def __init__(self, seed, heat):
        rng = np.random.default_rng(seed)
        weights = np.exp(heat * rng.normal(size=(4, 4)))
        self.chances = weights / weights.sum(axis=1, keepdims=True)

    def logps(self, tokens):
        states = [3, *tokens[:-1]]
        return np.log(
            [self.chances[state, token] for state, token in zip(states, tokens, strict=True)]
        )

    def responses(self):
        """Every response that there can be, with its probability."""
        for size in range(1, self.LONGEST + 1):
            for tokens in product(range(4), repeat=size):
                whole = tokens[-1] == self.END or size == self.LONGEST
                if whole and self.END not in tokens[:-1]:
                    yield tokens, float(np.exp(self.logps(tokens).sum()))


def test_the_sampled_sequence_kl_has_the_exact_value_inside_its_interval():
    policy, reference = Tabular(0, 0.9), Tabular(1, 0.7)
    known = list(policy.responses())
    assert sum(chance for _, chance in known) == pytest.approx(1)
    exact = sum(p * (policy.logps(t) - reference.logps(t)).sum() for t, p in known)
    inside, widths = 0, []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        drawn = rng.choice(len(known), size=1500, p=[chance for _, chance in known])
        ratios = [policy.logps(known[i][0]) - reference.logps(known[i][0]) for i in drawn]
        sizes = np.array([len(one) for one in ratios])
        table = Generations(sizes, np.zeros(len(sizes), bool))
        tokens = LogRatios(np.concatenate(ratios), np.repeat(np.arange(len(sizes)), sizes))
        found = evaluate_generations(table, log_ratios=tokens, resamples=300).estimates
        inside += found["kl"].low < exact < found["kl"].high
        widths.append(
            (found["kl"].high - found["kl"].low) / (found["kl_plain"].high - found["kl_plain"].low)
        )
    assert inside >= 7  # 95 % each: fewer than 7 of 10 has a chance of 1 in 10,000
    assert max(widths) < 0.8


def test_from_one_prompt_the_json_is_still_plain():
    one = [
        Measured(name, "x", np.array([s]), np.array([1.0])) for name, s in (("a", 1.0), ("b", 2.0))
    ]
    plain = json.loads(json.dumps(frontier(one).to_json(), allow_nan=False))
    assert [point["on_frontier"] for point in plain["points"]] == [False, True]
    assert plain["points"][0]["on_frontier_in_resamples"] is None
