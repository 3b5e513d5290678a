from math import exp, log

import numpy as np
import pytest

from truing.errors import RowError
from truing.evaluation import Generations, LogRatios, evaluate_generations, rank_correlation
from truing.evaluation.generations import length_controlled_wins


def generations(score, length=None, cut=None, **more):
    score = np.array(score, float)
    length = np.full(len(score), 5) if length is None else np.array(length)
    cut = np.zeros(len(score), bool) if cut is None else np.array(cut)
    return Generations(length, cut, score, **more)


def test_win_rate_counts_a_tie_as_one_half():
    found = evaluate_generations(generations([1, 2, 3, 0]), generations([0, 2, 3, 1])).to_json()
    assert (found["win_rate"], found["ties"]) == (0.5, 0.5)


def test_swapping_before_and_after_turns_the_win_rate_around():
    rng = np.random.default_rng(0)
    one, other = generations(rng.normal(0.4, 1, 90)), generations(rng.normal(0, 1, 90))
    there, back = evaluate_generations(one, other), evaluate_generations(other, one)
    rates = [found.estimates["win_rate"].value for found in (there, back)]
    assert sum(rates) == pytest.approx(1.0)
    assert rates[0] > rates[1]


def test_means_stand_beside_those_of_before():
    after = generations([1, 3], length=[4, 8], cut=[True, False])
    before = generations([0, 0], length=[2, 2], cut=[False, False])
    found = evaluate_generations(after, before).to_json()
    expected = {"score": 2.0, "score_before": 0.0, "score_gain": 2.0, "length": 6.0}
    expected |= {"length_before": 2.0, "length_gain": 4.0, "cut": 0.5, "cut_before": 0.0}
    assert {name: found[name] for name in expected} == expected


def test_length_control_by_score_knows_which_responses_are_to_one_prompt():
    rng = np.random.default_rng(3)
    prompt = np.repeat(np.arange(40), 6)
    sides = [
        generations(
            rng.normal(gain, 1, 40)[prompt], length=rng.integers(5, 40, 40)[prompt], prompt=prompt
        )
        for gain in (0.4, 0.0)
    ]
    found = length_controlled_wins(*sides)
    alone = [Generations(one.length, one.cut, one.score) for one in sides]
    narrow = length_controlled_wins(*alone).win_rate
    assert found.win_rate.value == narrow.value
    assert found.win_rate.high - found.win_rate.low > 1.5 * (narrow.high - narrow.low)


def test_without_scores_lengths_are_left():
    plain = Generations(np.array([3, 4]), np.array([False, True]))
    found = evaluate_generations(plain, plain).to_json()
    assert found["length"] == 3.5
    assert "win_rate" not in found


def test_responses_to_other_prompts_cannot_be_compared():
    one = generations([1, 2], prompt=np.array([0, 1]))
    with pytest.raises(RowError, match="same prompts"):
        evaluate_generations(one, generations([1, 2], prompt=np.array([0, 2])))


# A policy and a reference over two symbols and an end, whose KL can be summed by hand.
POLICY = {"a": 0.5, "b": 0.2, "end": 0.3}
REFERENCE = {"a": 0.3, "b": 0.3, "end": 0.4}


def sampled_log_ratios(num, seed):
    rng = np.random.default_rng(seed)
    ratios, owner, lengths = [], [], []
    for response in range(num):
        length = 0
        symbol = ""
        while symbol != "end":
            symbol = rng.choice(list(POLICY), p=list(POLICY.values()))
            ratios.append(log(POLICY[symbol] / REFERENCE[symbol]))
            owner.append(response)
            length += 1
        lengths.append(length)
    return LogRatios(np.array(ratios), np.array(owner)), generations([0] * num, length=lengths)


def test_both_kl_estimates_cover_the_exact_sequence_kl():
    per_token = sum(p * log(p / REFERENCE[symbol]) for symbol, p in POLICY.items())
    exact = per_token / POLICY["end"]  # the mean length of a response
    ratios, table = sampled_log_ratios(4000, seed=3)
    found = evaluate_generations(table, log_ratios=ratios).estimates
    assert found["kl"].low < exact < found["kl"].high
    assert found["kl_plain"].low < exact < found["kl_plain"].high
    assert found["kl_per_token"].low < per_token < found["kl_per_token"].high
    widths = {name: found[name].high - found[name].low for name in ("kl", "kl_plain")}
    assert widths["kl"] < 0.5 * widths["kl_plain"]


def test_the_low_variance_estimate_by_hand():
    ratios = LogRatios(np.array([0.5, -0.2, 1.0]), np.array([0, 0, 1]))
    found = evaluate_generations(generations([0, 0]), log_ratios=ratios).to_json()
    k3 = [exp(-d) - 1 + d for d in (0.5, -0.2, 1.0)]
    assert found["kl"] == pytest.approx(sum(k3) / 2)
    assert found["kl_plain"] == pytest.approx(1.3 / 2)
    assert found["kl_per_token"] == pytest.approx(sum(k3) / 3)


def test_a_log_ratio_of_no_response_is_refused():
    with pytest.raises(RowError, match="there are 2 responses"):
        evaluate_generations(
            generations([0, 0]), log_ratios=LogRatios(np.array([0.1]), np.array([2]))
        )


def test_rank_correlation_is_the_mean_over_prompts_of_kendalls_tau():
    reward = np.array([1.0, 2.0, 3.0, 3.0, 2.0, 1.0, 5.0, 1.0, 1.0])
    score = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 0.0, 1.0])
    prompt = np.array([0, 0, 0, 1, 1, 1, 2, 3, 3])
    found = rank_correlation(reward, score, prompt)
    # +1 and -1; prompt 2 has one response, prompt 3 has equal rewards
    assert (found.value, found.number) == (0.0, 2)


def test_rank_correlation_of_nothing_that_varies_is_undefined():
    same = np.ones(4)
    found = rank_correlation(same, np.arange(4.0), np.zeros(4, int))
    assert np.isnan(found.value)
    assert found.number == 0
