"""`truing pairs` as a user meets it."""

import json

import pytest


def build(here, kwise_file, output, *more):
    sampler = f"folder(path={str(kwise_file)!r})"
    return here(
        "pairs", "build", "--sampler", sampler, "--scorer", "given()", "--output", output, *more
    )


def test_build_shows_counts_and_the_file(here, kwise_file, tmp_path):
    found = build(here, kwise_file, tmp_path / "p")
    assert found.returncode == 0
    assert "pairs.parquet" in found.stdout
    assert "empty responses" in found.stdout
    assert "next: truing train" in found.stderr


def test_json_is_one_value(here, kwise_file, tmp_path):
    found = build(here, kwise_file, tmp_path / "p", "--json")
    assert json.loads(found.stdout)["rows"] == 3


def test_show_puts_the_best_first(here, kwise_file, tmp_path):
    build(here, kwise_file, tmp_path / "p")
    found = here("pairs", "show", tmp_path / "p", "--row", "1", "--rows", "1", "--json")
    assert found.returncode == 0
    (row,) = json.loads(found.stdout)
    assert [one["score"] for one in row["responses"]] == [2.0, 0.5, -1.0]
    assert "a good one" in here("pairs", "show", tmp_path / "p").stdout


def test_stats_are_a_table_or_json(here, kwise_file, tmp_path):
    build(here, kwise_file, tmp_path / "p")
    told = here("pairs", "stats", tmp_path / "p", "--json")
    assert told.returncode == 0
    found = json.loads(told.stdout)
    assert found["prompts"] == 4
    assert found["score gap of pairs"]["mean"] == pytest.approx((3 + 1 + 2) / 3)
    assert "repeated responses" in here("pairs", "stats", tmp_path / "p").stdout


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--select", "rs_dop(eta=0.9)"), "did you mean rs_dpo"),
        (("--select", "rs_dpo(eta=2)"), "must be"),
        (("--scorer", "lexikon(path='x')"), "did you mean lexicon"),
        (("--scorer", "lexicon(path='nowhere.tsv')"), "nowhere.tsv"),
        (("--sampler", "generate()"), "needs a model that responds"),
        (("--sampler", "generate(temperature=0, num_responses=4)"), "have no effect"),
        (("--seed", "0"), "`seed` has no effect: nothing is drawn"),
        (("--keep-cut",), "`keep_cut` has no effect"),
    ],
)
def test_a_mistake_is_one_sentence(here, kwise_file, tmp_path, more, sentence):
    found = build(here, kwise_file, tmp_path / "p", *more)
    assert found.returncode == 1
    assert sentence in " ".join(found.stderr.split())


def test_where_most_responses_are_cut_that_is_said_unless_they_are_let_in(here, tmp_path, start):
    arguments = ["pairs", "build", "--policy", start, "--prompts", "world(rows=3)", "--scorer",
                 "world()", "--sampler", "generate(num_responses=2, max_new_tokens=4)",
                 "--output", tmp_path / "p"]  # fmt: skip
    assert "6 of 6 responses were cut" in here(*arguments).stderr
    assert "were cut" not in here(*arguments, "--keep-cut").stderr


def test_another_folder_is_left_alone(here, kwise_file, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "mine.txt").write_text("x")
    found = build(here, kwise_file, tmp_path / "p")
    assert found.returncode == 1
    assert "something else" in found.stderr
