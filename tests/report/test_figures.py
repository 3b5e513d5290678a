import numpy as np
import pytest

from truing.report.collect import Curves, Sample, Turn, collect
from truing.report.colours import PAGE, SERIES
from truing.report.figures import QUESTIONS, curve_figures
from truing.report.held_out import evaluation_figures, sample_figures

NONE = Curves(np.zeros(0), {})


@pytest.fixture
def run(tmp_path, fake_runs):
    return collect(fake_runs.write_run(tmp_path / "run"))


def test_every_question_is_answered_by_a_whole_run(run):
    figures = curve_figures(run.training, run.evaluations)
    assert [figure.name for figure in figures] == [question.name for question in QUESTIONS]
    for figure in figures:
        assert figure.title.endswith("?")
        assert figure.plot.layout.yaxis.title.text
        assert figure.plot.layout.xaxis.title.text == "optimizer step"
        assert figure.caption
        assert figure.reading


def test_a_question_without_numbers_is_not_asked():
    only_loss = Curves(np.array([1.0, 2.0]), {"loss": np.array([0.7, 0.6])})
    assert [figure.name for figure in curve_figures(only_loss, NONE)] == ["loss"]
    assert curve_figures(NONE, NONE) == ()


def test_a_short_curve_is_one_trace_with_the_values_themselves():
    loss = np.array([0.7, 0.5, 0.6])
    (figure,) = curve_figures(Curves(np.array([1.0, 2.0, 3.0]), {"loss": loss}), NONE)
    assert [trace.y.tolist() for trace in figure.plot.data] == [[0.7, 0.5, 0.6]]


def test_a_noisy_curve_stands_pale_behind_its_smooth_course(run):
    loss = curve_figures(run.training, run.evaluations)[0].plot.data
    raw, calm, held_out = loss
    assert raw.y.tolist() == run.training.values["loss"].tolist()
    assert raw.opacity < 0.5
    assert np.diff(calm.y).std() < 0.2 * np.diff(raw.y).std()
    assert held_out.error_y.array.tolist() == pytest.approx([0.02] * 7)


def test_the_learning_rate_is_shown_as_it_was(run):
    figure = curve_figures(run.training, run.evaluations)[-1]
    (trace,) = figure.plot.data
    assert trace.y.tolist() == run.training.values["learning_rate"].tolist()


def test_the_reading_says_where_a_curve_began_and_ended():
    loss = Curves(np.array([1.0, 9.0]), {"loss": np.array([0.7, 0.25])})
    (figure,) = curve_figures(loss, NONE)
    expected = "training: 0.700 at step 1, 0.250 at step 9; lowest 0.250, highest 0.700."
    assert figure.reading == expected


def test_a_hundred_thousand_steps_make_a_light_page():
    step = np.arange(1.0, 100_001.0)
    values = np.random.default_rng(0).normal(size=len(step))
    (figure,) = curve_figures(Curves(step, {"loss": values}), NONE)
    assert len(figure.plot.to_json()) < 60_000


def test_accuracy_by_length_shows_value_interval_and_number_of_each_bucket(run):
    by_length, *_ = evaluation_figures(run.evaluation)
    reward = by_length.plot.data[0]
    assert reward.y.tolist() == [0.74, 0.79, 0.83, 0.82, 0.86]
    assert reward.error_y.array.tolist() == pytest.approx([0.05] * 5)
    assert by_length.plot.layout.xaxis.ticktext[0] == "−28<br>to −9<br>n=200"


def test_intervals_that_are_unknown_do_not_stop_a_figure():
    rows = [
        {"low": i, "high": i, "pairs": 1, "reward_accuracy": 1.0, "reward_accuracy_low": None}
        for i in range(2)
    ]
    (figure,) = evaluation_figures({"by_length_difference": rows})
    assert figure.plot.data[0].y.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "broken", [None, "text", [1, 2], [{"low": None, "high": 1, "pairs": 2}] * 2, [{}, {}]]
)
def test_buckets_that_are_no_buckets_are_passed_over(broken):
    assert evaluation_figures({"by_length_difference": broken, "calibration": broken}) == ()


def test_scores_stand_against_lengths_before_and_after(run):
    (figure,) = sample_figures(run.samples)
    before, after = figure.plot.data
    assert (before.name, after.name) == ("before", "after")
    assert len(before.x) == len(after.y) == 48


def test_a_handful_of_samples_makes_no_cloud():
    sample = Sample((Turn("", "?"),), "a", "b", 0.0, 1.0, 1, 1)
    assert sample_figures([sample] * 3) == ()


def test_each_trace_names_a_role_of_the_colour_table(run):
    figures = curve_figures(run.training, run.evaluations) + evaluation_figures(run.evaluation)
    roles = {trace.meta["role"] for figure in figures for trace in figure.plot.data}
    assert roles <= set(SERIES)


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("role", [*SERIES, "text", "muted", "accent", "good", "bad", "warn"])
def test_every_colour_stands_out_from_each_ground_by_4_5_to_1(role, scheme):
    colour = getattr({**PAGE, **SERIES}[role], scheme)
    for ground in ("ground", "card", "sunken"):
        both = sorted((luminance(colour), luminance(getattr(PAGE[ground], scheme))))
        assert (both[1] + 0.05) / (both[0] + 0.05) >= 4.5
