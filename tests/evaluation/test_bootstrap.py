import numpy as np
import pytest
from scipy import stats

from truing.evaluation.bootstrap import CalibrationError, Correlation, Mean, RatioOfSums, estimate

# Two bootstraps of 4,000 resamples with other draws: the error of a percentile at n = 200.
RESAMPLING = 0.012


def test_the_interval_of_a_mean_is_that_of_scipys_own_bootstrap():
    values = np.random.default_rng(0).exponential(size=200)
    ours = estimate({"mean": Mean(values)}, resamples=4000)["mean"]
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(9)
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=RESAMPLING)


def test_the_interval_of_a_correlation_is_that_of_scipys_own_bootstrap():
    rng = np.random.default_rng(1)
    one = rng.normal(size=200)
    other = 0.6 * one + rng.normal(size=200)
    ours = estimate({"r": Correlation(one, other)}, resamples=4000)["r"]
    theirs = stats.bootstrap(
        (one, other),
        lambda x, y: np.corrcoef(x, y)[0, 1],
        n_resamples=4000,
        method="percentile",
        paired=True,
        vectorized=False,
        rng=np.random.default_rng(9),
    ).confidence_interval
    assert ours.value == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=RESAMPLING)


def test_a_correlation_far_from_zero_loses_no_digits():
    one = 1e8 + np.arange(10.0)
    assert estimate({"r": Correlation(one, -one)})["r"].value == pytest.approx(-1.0)


def test_a_correlation_with_a_constant_is_undefined():
    constant = np.full(20, 0.1)
    r = estimate({"r": Correlation(constant, np.arange(20.0))})["r"]
    assert r.to_json("r") == {"r": None, "r_low": None, "r_high": None}


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    inside = 0
    for seed in range(200):
        found = estimate({"m": Mean(rng.normal(3, 2, 80))}, resamples=300, seed=seed)["m"]
        inside += found.low <= 3 <= found.high
    # Binomial(200, 0.95) lies in 180..198 but for one case in 500.
    assert 180 <= inside <= 198


def test_rows_of_one_prompt_are_resampled_together():
    values = np.repeat(np.random.default_rng(3).normal(size=50), 20)
    groups = np.repeat(np.arange(50), 20)
    apart, together = estimate({"m": Mean(values)}), estimate({"m": Mean(values)}, groups)
    widths = [found["m"].high - found["m"].low for found in (apart, together)]
    # 20 copies of each value carry no more than one: the honest interval is sqrt(20) wider.
    assert widths[1] / widths[0] == pytest.approx(20**0.5, rel=0.1)


def test_the_order_of_groups_does_not_matter():
    values, groups = np.array([1.0, 2.0, 5.0, 7.0]), np.array([9, 4, 9, 4])
    found = estimate({"m": Mean(values, where=np.array([True, True, False, True]))}, groups)["m"]
    assert (found.value, found.number) == (pytest.approx(10 / 3), 3)


def test_a_share_of_all_gets_the_exact_interval_not_one_of_no_width():
    found = estimate({"share": Mean(np.ones(10), is_share=True)})["share"]
    assert (found.low, found.high) == pytest.approx((0.025 ** (1 / 10), 1.0))


def test_one_group_has_a_value_and_no_interval():
    found = estimate({"m": Mean(np.array([1.0, 3.0]))}, np.array([7, 7]))["m"]
    assert found.to_json("m") == {"m": 2.0, "m_low": None, "m_high": None}


def test_a_mean_that_rests_on_one_row_of_many_has_no_interval():
    found = estimate({"m": Mean(np.arange(5.0), np.arange(5) == 3)})["m"]
    assert found.to_json("m") == {"m": 3.0, "m_low": None, "m_high": None}


def test_a_mean_over_nothing_is_undefined():
    empty = Mean(np.arange(5.0), where=np.zeros(5, bool))
    assert estimate({"m": empty})["m"].to_json("m") == {"m": None, "m_low": None, "m_high": None}


def test_a_bucket_that_some_resamples_miss_still_has_an_interval():
    where = np.arange(60) < 2
    found = estimate({"m": Mean(np.arange(60.0), where)})["m"]
    assert 0.0 <= found.low <= 0.5 <= found.high <= 1.0


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = Mean(np.random.default_rng(4).normal(size=40))
    one, same, other = (estimate({"m": values}, seed=seed)["m"] for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_a_ratio_of_sums_weighs_long_rows_more_than_short_ones():
    found = estimate({"r": RatioOfSums(np.array([1.0, 30.0]), np.array([1.0, 10.0]))})["r"]
    assert found.value == pytest.approx(31 / 11)


def test_calibration_error_by_hand():
    error = CalibrationError(
        confidence=np.array([0.6, 0.6, 0.9, 0.9]),
        correct=np.array([1.0, 0.0, 1.0, 1.0]),
        bin_of_row=np.array([0, 0, 1, 1]),
        num_bins=2,
    )
    # |0.6 - 0.5| for one half, |0.9 - 1| for the other
    assert estimate({"e": error})["e"].value == pytest.approx(0.1)
