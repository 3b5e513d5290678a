import numpy as np
import pytest

from truing.report.smoothing import smooth, thin_evenly, thin_keeping_extremes


def test_a_constant_stays_itself_also_around_gaps():
    values = np.full(200, 3.5)
    values[50:70] = np.nan
    found = smooth(values)
    assert found[np.isfinite(values)] == pytest.approx(3.5)
    assert np.isnan(found[50:70]).all()


def test_a_straight_line_keeps_its_course_away_from_the_ends():
    line = np.linspace(0, 10, 500)
    assert smooth(line)[50:-50] == pytest.approx(line[50:-50])


def test_noise_gets_smaller_and_its_mean_stays():
    noise = np.random.default_rng(0).normal(2, 1, 2000)
    found = smooth(noise)
    assert found.std() < 0.25
    assert found.mean() == pytest.approx(noise.mean(), abs=0.02)


def test_a_short_curve_is_shown_as_it_is():
    values = np.array([1.0, 5.0, 2.0])
    assert smooth(values) is values


def test_a_single_spike_among_100_000_steps_survives_thinning():
    step, values = np.arange(100_000.0), np.zeros(100_000)
    values[71_234] = 9.0
    x, y = thin_keeping_extremes(step, values)
    assert len(x) <= 800
    assert (y.max(), x[np.argmax(y)]) == (9.0, 71_234)


@pytest.mark.parametrize("thin", [thin_keeping_extremes, thin_evenly])
def test_thinning_keeps_both_ends_and_the_order(thin):
    rng = np.random.default_rng(1)
    step, values = np.arange(5000.0), rng.normal(size=5000)
    x, y = thin(step, values)
    assert (x[0], x[-1], y[0], y[-1]) == (0, 4999, values[0], values[-1])
    assert (np.diff(x) > 0).all()


def test_thinning_leaves_out_what_is_no_number():
    x, y = thin_keeping_extremes(np.arange(4.0), np.array([1.0, np.nan, 3.0, np.nan]))
    assert (x.tolist(), y.tolist()) == ([0, 2], [1, 3])
