import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from truing.evaluation import corrected, mcnemar, paired_bootstrap

NAMES = ("score", "one", "other")


def test_a_plain_difference_is_significant_and_none_is_not():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=300)
    plain = paired_bootstrap(NAMES, noise + 0.4 + 0.2 * rng.normal(size=300), noise)
    none = paired_bootstrap(NAMES, noise + 0.2 * rng.normal(size=300), noise)
    assert plain.p < 0.001
    assert none.p > 0.05
    assert plain.difference.low < 0.4 < plain.difference.high


def test_the_bootstraps_p_is_near_that_of_the_paired_t_test():
    rng = np.random.default_rng(3)
    one, other = rng.normal(0.12, 1, 400), rng.normal(0, 1, 400)
    ours = paired_bootstrap(NAMES, one, other).p
    assert ours == pytest.approx(stats.ttest_rel(one, other).pvalue, abs=0.03)


def test_under_no_difference_about_one_in_twenty_is_below_a_twentieth():
    rng = np.random.default_rng(4)
    found = [paired_bootstrap(NAMES, rng.normal(size=60), rng.normal(size=60)).p for _ in range(60)]
    assert 0 <= np.mean(np.array(found) < 0.05) <= 0.15


def test_rows_of_one_prompt_are_drawn_together_and_widen_the_interval():
    rng = np.random.default_rng(5)
    of_prompt = np.repeat(rng.normal(0.2, 1, 40), 10)
    groups = np.repeat(np.arange(40), 10)
    alone = paired_bootstrap(NAMES, of_prompt, np.zeros(400))
    together = paired_bootstrap(NAMES, of_prompt, np.zeros(400), groups)
    assert together.difference.high - together.difference.low > 2 * (
        alone.difference.high - alone.difference.low
    )


def test_mcnemar_reads_only_the_rows_on_which_the_runs_disagree():
    one = np.array([True] * 30 + [True] * 12 + [False] * 3 + [False] * 20)
    other = np.array([True] * 30 + [False] * 12 + [True] * 3 + [False] * 20)
    found = mcnemar(NAMES, one, other)
    assert found.p == pytest.approx(stats.binomtest(3, 15).pvalue)
    assert found.difference.value == pytest.approx(9 / 65)
    assert found.test == "McNemar"


def test_rows_that_share_prompts_are_not_for_mcnemar():
    one, other = np.array([True, True, False, False]), np.array([True, False, False, True])
    assert mcnemar(NAMES, one, other, np.array([0, 0, 1, 1])).test == "paired bootstrap"


def test_equal_runs_have_p_one_and_no_width():
    same = np.arange(5.0)
    found = paired_bootstrap(NAMES, same, same)
    assert (found.p, found.difference.value) == (1.0, 0.0)
    assert mcnemar(NAMES, same > 2, same > 2).p == 1.0


def test_a_constant_difference_has_no_p_and_is_never_called_significant():
    found = corrected([paired_bootstrap(NAMES, np.ones(5), np.zeros(5))])[0]
    assert np.isnan(found.p)
    assert not found.is_significant
    assert found.to_json()["p"] is None


def test_all_comparisons_are_corrected_together_by_holm():
    rng = np.random.default_rng(6)
    found = corrected(
        [
            paired_bootstrap(NAMES, rng.normal(shift, 1, 200), np.zeros(200))
            for shift in (0, 0.1, 0.2, 0.3)
        ]
    )
    expected = multipletests([one.p for one in found], method="holm")[1]
    assert [one.p_corrected for one in found] == pytest.approx(list(expected))
    assert {one.family for one in found} == {4}
    assert all(one.p_corrected >= one.p for one in found)


def test_a_plain_difference_stays_significant_among_very_many_comparisons():
    """A share of 10,000 resamples ends at 0.0002, which 250 comparisons would lift over 0.05."""
    rng = np.random.default_rng(7)
    plain = paired_bootstrap(NAMES, rng.normal(0.5, 1, 300), np.zeros(300))
    found = corrected([plain] * 1000)
    assert all(one.is_significant for one in found)


def test_where_few_resamples_cross_zero_p_is_near_that_of_the_paired_t_test():
    rng = np.random.default_rng(11)
    gain = rng.normal(0.25, 1, 400)
    expected = stats.ttest_1samp(gain, 0).pvalue
    assert expected < 1e-6
    assert paired_bootstrap(NAMES, gain, np.zeros(400)).p == pytest.approx(expected, rel=0.5)


def test_prompts_that_all_differ_alike_have_no_p_although_their_rows_differ():
    gain = np.tile([1.0, 0.0], 6)
    found = paired_bootstrap(NAMES, gain, np.zeros(12), np.repeat(np.arange(6), 2))
    assert found.difference.value == 0.5
    assert np.isnan(found.p)
