import json
from dataclasses import replace
from math import exp, log

import numpy as np
import pytest

from truing.errors import RowError
from truing.evaluation import PairTable, evaluate_pairs


def rows(table):
    """The table as plain tuples, for longhand."""
    names = ("logp", "length", "reward", "reference", "score")
    columns = [getattr(table, f"{n}_{side}").tolist() for n in names for side in SIDES]
    keys = [f"{n}_{side}" for n in names for side in SIDES]
    return [dict(zip(keys, values, strict=True)) for values in zip(*columns, strict=True)]


SIDES = ("chosen", "rejected")

LONGHAND = {
    "reward_accuracy": lambda r: r["reward_chosen"] > r["reward_rejected"],
    "margin": lambda r: r["reward_chosen"] - r["reward_rejected"],
    "policy_accuracy": lambda r: r["logp_chosen"] > r["logp_rejected"],
    "policy_accuracy_per_token": lambda r: (
        r["logp_chosen"] / r["length_chosen"] > r["logp_rejected"] / r["length_rejected"]
    ),
    "chosen_longer": lambda r: r["length_chosen"] > r["length_rejected"],
    "length_rejected": lambda r: r["length_rejected"],
    "drift_chosen": lambda r: r["logp_chosen"] - r["reference_chosen"],
    "drift_rejected_per_token": lambda r: (
        (r["logp_rejected"] - r["reference_rejected"]) / r["length_rejected"]
    ),
    "displaced": lambda r: r["logp_chosen"] < r["reference_chosen"],
    "reference_accuracy": lambda r: r["reference_chosen"] > r["reference_rejected"],
    "log_loss": lambda r: log(1 + exp(r["reward_rejected"] - r["reward_chosen"])),
}


@pytest.mark.parametrize("name", LONGHAND)
def test_each_number_is_the_mean_of_its_longhand(table, name):
    values = [LONGHAND[name](row) for row in rows(table)]
    found = evaluate_pairs(table).estimates[name]
    assert found.value == pytest.approx(sum(values) / len(values))
    assert found.low < found.value < found.high


def test_the_json_holds_plain_numbers_under_the_promised_names(table):
    found = json.loads(json.dumps(evaluate_pairs(table).to_json(), allow_nan=False))
    for name in ("reward_accuracy", "policy_accuracy", "margin"):
        assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]
    assert (found["pairs"], found["prompts"]) == (300, 100)


def test_equal_rewards_are_no_success_and_counted_as_ties():
    zeros = np.zeros(4)
    table = PairTable(zeros - 1, zeros - 2, zeros + 3, zeros + 3, zeros, zeros)
    found = evaluate_pairs(table).to_json()
    assert (found["reward_accuracy"], found["reward_ties"]) == (0.0, 1.0)


def test_without_rewards_and_reference_the_policys_own_accuracy_is_left(table):
    bare = replace(
        table,
        **{f"{n}_{s}": None for n in ("reward", "reference", "score") for s in SIDES},
    )
    found = evaluate_pairs(bare).to_json()
    assert found["policy_accuracy"] == evaluate_pairs(table).to_json()["policy_accuracy"]
    assert (found["reward_accuracy"], found["margin"]) == (None, None)
    assert "drift_chosen" not in found


def test_length_buckets_part_the_pairs_and_keep_equal_lengths_apart(table):
    found = evaluate_pairs(table)
    difference = table.length_chosen - table.length_rejected
    assert sum(bucket.pairs for bucket in found.by_length_difference) == 300
    bounds = [(bucket.low, bucket.high) for bucket in found.by_length_difference]
    assert (0.0, 0.0) in bounds
    assert bounds == sorted(bounds)
    assert (bounds[0][0], bounds[-1][1]) == (difference.min(), difference.max())


def test_in_each_bucket_accuracies_are_those_of_its_own_pairs_summed_and_per_token(table):
    difference = table.length_chosen - table.length_rejected
    for bucket in evaluate_pairs(table).by_length_difference:
        inside = (difference >= bucket.low) & (difference <= bucket.high)
        mine = [row for row, is_in in zip(rows(table), inside, strict=True) if is_in]
        for name in ("reward_accuracy", "policy_accuracy", "policy_accuracy_per_token"):
            share = sum(LONGHAND[name](row) for row in mine) / len(mine)
            assert bucket.estimates[name].value == pytest.approx(share)


def test_a_reward_that_is_length_alone_is_seen_in_the_length_buckets(table):
    only_length = replace(
        table,
        reward_chosen=0.01 * table.length_chosen,
        reward_rejected=0.01 * table.length_rejected,
    )
    found = evaluate_pairs(only_length)
    assert found.estimates["reward_length_correlation"].value == pytest.approx(1.0)
    shares = [b.estimates["reward_accuracy"].value for b in found.by_length_difference]
    assert shares == [0.0, 0.0, 0.0, 1.0, 1.0]


def test_the_accuracy_of_a_score_bucket_is_that_of_its_own_pairs(table):
    bucket = evaluate_pairs(table).by_score_gap[-1]
    gap = [row["score_chosen"] - row["score_rejected"] for row in rows(table)]
    inside = [r for r, g in zip(rows(table), gap, strict=True) if bucket.low <= g <= bucket.high]
    hits = [row["reward_chosen"] > row["reward_rejected"] for row in inside]
    assert bucket.pairs == len(inside)
    assert bucket.estimates["reward_accuracy"].value == pytest.approx(sum(hits) / len(hits))


def test_rewards_drawn_as_bradley_terry_says_are_calibrated_and_doubled_ones_are_not():
    rng = np.random.default_rng(8)
    margin = rng.normal(0, 1.5, 40_000)
    wins = rng.random(40_000) < 1 / (1 + np.exp(-margin))
    margin = np.where(wins, margin, -margin)
    ones = np.ones_like(margin)
    zero = 0 * ones

    def error(scale):
        table = PairTable(-ones, -ones, ones, ones, scale * margin, zero)
        return evaluate_pairs(table, resamples=100).estimates["calibration_error"].value

    assert error(1.0) < 0.01
    assert error(2.0) > 0.05


def test_a_calibration_bin_compares_what_was_claimed_with_what_came(table):
    for bucket in evaluate_pairs(table).calibration:
        assert bucket.low <= bucket.estimates["confidence"].value <= bucket.high
        assert 0 <= bucket.estimates["accuracy"].value <= 1


def test_the_order_of_rows_changes_no_value(table):
    order = np.random.default_rng(1).permutation(300)
    columns = {name: column[order] for name, column in vars(table).items()}
    one, other = evaluate_pairs(table), evaluate_pairs(PairTable(**columns))
    values = [{n: e.value for n, e in found.estimates.items()} for found in (one, other)]
    assert values[0] == pytest.approx(values[1])


def test_a_value_that_is_not_finite_is_named_with_its_row(table):
    broken = table.reward_chosen.copy()
    broken[17] = np.nan
    with pytest.raises(RowError, match=r"row 17.*reward_chosen") as caught:
        replace(table, reward_chosen=broken)
    assert caught.value.fix


def test_columns_of_different_lengths_are_refused(table):
    with pytest.raises(RowError, match="different lengths"):
        replace(table, logp_rejected=table.logp_rejected[:5])


def test_a_column_for_one_side_only_is_refused(table):
    with pytest.raises(RowError, match="one side only"):
        replace(table, score_rejected=None)


def test_no_pairs_are_refused():
    none = np.zeros(0)
    with pytest.raises(RowError, match="no rows"):
        PairTable(none, none, none, none)
