"""Win rates and length-controlled win rates against the published ones of 28 models."""

import csv
import sys
from collections import defaultdict

import numpy as np
import pytest

from truing.evaluation import (
    Against,
    Judgements,
    controlled_win_rate,
    estimated_difficulty,
    length_controlled,
    win_rate,
)

EXACT = 1e-6  # the published figures are means of these very rows
FROM_COEFFICIENTS = 0.1  # points: difficulty is an estimate, not the authors' table
RMS, LARGEST = 0.5, 1.0  # points, of the refit from raw rows
WEAK = 100.0  # the strength that the authors' cross-validation mostly ends near


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def alpaca(shared):
    folder = shared / "data" / "alpaca_eval"
    rows = defaultdict(list)
    for row in read(folder / "preferences.csv"):
        rows[row["model"]].append(row)
    tables = {name: read(folder / f"{name}.csv") for name in ("leaderboard", "glm_coefficients")}
    return {
        "rows": rows,
        "difficulty": np.array(
            [float(row["difficulty_estimate"]) for row in read(folder / "instructions.csv")]
        ),
        "extra": read(folder / "extra_rows_estimate.csv"),
        **{name: {row["model"]: row for row in table} for name, table in tables.items()},
    }


def column(rows, name, kind=float):
    return np.array([kind(row[name]) for row in rows])


def shares(rows):
    """Preferences as chances; 1.5, and in older rows 0, is a draw."""
    given = column(rows, "preference")
    return np.where(given == 0, 0.5, given - 1)


def against(rows, difficulty):
    # The authors look the difficulty up by the place of the row, not by the instruction.
    return Against(
        shares(rows),
        column(rows, "len_model", int),
        column(rows, "len_baseline", int),
        None if difficulty is None else difficulty[column(rows, "row", int)],
    )


def versions(alpaca):
    found = []
    for name in ("verbose", "concise"):
        rows = [row for row in alpaca["extra"] if row["version"] == name]
        found.append(
            Against(
                column(rows, "expected_preference") - 1,
                column(rows, "len_model", int),
                column(rows, "len_baseline", int),
                alpaca["difficulty"][column(rows, "instruction", int)],
            )
        )
    return found


def test_win_rate_standard_error_and_counts_are_the_published_ones_of_all_28_models(alpaca):
    assert len(alpaca["rows"]) == 28
    for model, rows in alpaca["rows"].items():
        ones = np.zeros(len(rows), int)
        table = Judgements(
            ("baseline", model), column(rows, "instruction", int), ones + 1, ones, shares(rows)
        )
        found, published = (
            win_rate(table, model, "baseline", resamples=2),
            alpaca["leaderboard"][model],
        )
        assert 100 * found.win_rate.value == pytest.approx(float(published["win_rate"]), abs=EXACT)
        assert 100 * found.standard_error == pytest.approx(
            float(published["standard_error"]), abs=EXACT
        )
        assert 100 * found.discrete == pytest.approx(
            float(published["discrete_win_rate"]), abs=EXACT
        )
        counts = (found.wins, found.losses, found.ties, found.prompts)
        names = ("n_wins", "n_wins_base", "n_draws", "n_total")
        assert counts == tuple(int(float(published[name])) for name in names)


def test_the_controlled_rate_follows_from_the_published_coefficients(alpaca):
    with_error = 0
    for model, row in alpaca["glm_coefficients"].items():
        names = ("tanh_length", "instruction_difficulty", "model_bias")
        difficulty = against(alpaca["rows"][model], alpaca["difficulty"]).difficulty
        rate, error = controlled_win_rate(*(float(row[name]) for name in names), difficulty)
        published = alpaca["leaderboard"][model]
        assert 100 * rate == pytest.approx(
            float(published["length_controlled_winrate"]), abs=FROM_COEFFICIENTS
        )
        if published["lc_standard_error"]:
            with_error += 1
            assert 100 * error == pytest.approx(
                float(published["lc_standard_error"]), abs=FROM_COEFFICIENTS
            )
    assert with_error == 5


def refit(alpaca, others, *, difficulty=True, strength=WEAK):
    table = alpaca["difficulty"] if difficulty else None
    return {
        model: 100
        * length_controlled(
            against(rows, table), others, strength=strength, resamples=0
        ).win_rate.value
        - float(alpaca["leaderboard"][model]["length_controlled_winrate"])
        for model, rows in alpaca["rows"].items()
    }


def test_a_refit_from_the_raw_rows_comes_near_the_published_rates(alpaca, capsys):
    apart = np.array(list(refit(alpaca, versions(alpaca)).values()))
    rms, largest = float(np.sqrt((apart**2).mean())), float(np.abs(apart).max())
    told = (
        f"with estimated difficulty and estimated extra rows: RMS {rms:.2f}, largest {largest:.2f}"
    )
    with capsys.disabled():
        sys.stdout.write(f"\nlength control, {told}\n")
    assert rms < RMS, told
    assert largest < LARGEST, told


def test_without_the_versions_of_the_baseline_the_refit_is_visibly_off(alpaca):
    apart = np.array(list(refit(alpaca, ()).values()))
    assert np.sqrt((apart**2).mean()) > 1.5
    assert np.abs(apart).max() > 5


@pytest.mark.soak
def test_with_the_strength_by_cross_validation_the_refit_is_as_near(alpaca):
    apart = np.array(list(refit(alpaca, versions(alpaca), strength=None).values()))
    assert np.sqrt((apart**2).mean()) < RMS
    assert np.abs(apart).max() < LARGEST


PLANTED = {"length": -1.6, "difficulty": 0.8, "quality": -0.7}


def simulated(alpaca, seed, number=805):
    """Annotations drawn from planted coefficients at real lengths and difficulties."""
    rng = np.random.default_rng(seed)
    rows = alpaca["rows"]["vicuna-13b"][:number]
    lengths = column(rows, "len_model", int), column(rows, "len_baseline", int)
    difference = (lengths[1] - lengths[0]).astype(float)
    difficulty = alpaca["difficulty"][column(rows, "row", int)]
    log_odds = (
        PLANTED["length"] * np.tanh(difference / difference.std(ddof=1))
        + PLANTED["difficulty"] * difficulty
        + PLANTED["quality"]
    )
    wins = rng.random(len(rows)) < 1 / (1 + np.exp(-log_odds))
    return Against(wins.astype(float), *lengths, difficulty)


def test_planted_coefficients_are_recovered_within_their_standard_errors(alpaca):
    apart = []
    for seed in range(8):
        found = length_controlled(simulated(alpaca, seed), strength=1e4, resamples=60)
        values = (found.length, found.difficulty, found.quality)
        apart.append((np.array(values) - list(PLANTED.values())) / found.errors)
    z = np.array(apart)
    assert np.abs(z).max() < 3.5
    # 24 standard normals: their mean square lies between these with 99.9 %.
    assert 0.3 < (z**2).mean() < 2.3
    assert np.abs(z.mean(axis=0)).max() < 1.2  # no coefficient is off in one direction


def test_the_light_form_takes_length_out_of_a_model_that_only_talks_more():
    rng = np.random.default_rng(0)
    own, baseline = rng.integers(200, 900, 1500), rng.integers(100, 500, 1500)
    difference = (baseline - own).astype(float)
    chance = 1 / (1 + np.exp(2.0 * np.tanh(difference / difference.std(ddof=1))))
    wins = (rng.random(1500) < chance).astype(float)
    found = length_controlled(Against(wins, own, baseline), strength=WEAK)
    assert wins.mean() > 0.65
    assert found.win_rate.low < 0.5 < found.win_rate.high
    assert found.win_rate.value == pytest.approx(0.5, abs=0.05)
    assert found.difficulty is None
    assert any("light form" in note for note in found.notes)


def test_difficulty_is_estimated_from_several_models_and_follows_the_planted_one():
    rng = np.random.default_rng(1)
    difficulty = rng.normal(size=300)
    quality = np.linspace(-1, 1, 20)
    chance = 1 / (1 + np.exp(-(difficulty[:, None] + quality)))
    wins = (rng.random(chance.shape) < chance).astype(float)
    instruction, model = np.indices(chance.shape)
    found = estimated_difficulty(wins.ravel(), instruction.ravel(), model.ravel())
    assert np.corrcoef(found, difficulty)[0, 1] > 0.8
