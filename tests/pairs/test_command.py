"""`truing pairs` as a user meets it."""

import json

import pytest

from truing.cli.app import app
from truing.cli.exits import run


@pytest.fixture
def here(capsys):
    """The command in this process: exit code, stdout, stderr."""

    def call(*arguments):
        try:
            code = run(lambda: app([str(one) for one in arguments]), debug=False)
        except SystemExit as end:
            code = end.code
        found = capsys.readouterr()
        return code or 0, found.out, found.err

    return call


def build(here, kwise_file, output, *more):
    sampler = f"folder(path={str(kwise_file)!r})"
    return here(
        "pairs", "build", "--sampler", sampler, "--scorer", "given()", "--output", output, *more
    )


def test_build_shows_counts_and_the_file(here, kwise_file, tmp_path):
    code, out, err = build(here, kwise_file, tmp_path / "p")
    assert code == 0
    assert "pairs.parquet" in out
    assert "empty responses" in out
    assert "next: truing train" in err


def test_json_is_one_value(here, kwise_file, tmp_path):
    _, out, _ = build(here, kwise_file, tmp_path / "p", "--json")
    assert json.loads(out)["rows"] == 3


def test_show_puts_the_best_first(here, kwise_file, tmp_path):
    build(here, kwise_file, tmp_path / "p")
    code, out, _ = here("pairs", "show", tmp_path / "p", "--row", "1", "--rows", "1", "--json")
    assert code == 0
    (row,) = json.loads(out)
    assert [one["score"] for one in row["responses"]] == [2.0, 0.5, -1.0]
    code, out, _ = here("pairs", "show", tmp_path / "p")
    assert "a good one" in out


def test_stats_are_a_table_or_json(here, kwise_file, tmp_path):
    build(here, kwise_file, tmp_path / "p")
    code, out, _ = here("pairs", "stats", tmp_path / "p", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["prompts"] == 4
    assert found["score gap of pairs"]["mean"] == pytest.approx((3 + 1 + 2) / 3)
    assert "repeated responses" in here("pairs", "stats", tmp_path / "p")[1]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--select", "rs_dop(eta=0.9)"), "did you mean rs_dpo"),
        (("--select", "rs_dpo(eta=2)"), "must be"),
        (("--scorer", "lexikon(path='x')"), "did you mean lexicon"),
        (("--scorer", "lexicon(path='nowhere.tsv')"), "nowhere.tsv"),
        (("--sampler", "generate()"), "needs a model that responds"),
        (("--sampler", "generate(temperature=0, num_responses=4)"), "have no effect"),
    ],
)
def test_a_mistake_is_one_sentence(here, kwise_file, tmp_path, more, sentence):
    code, _, err = build(here, kwise_file, tmp_path / "p", *more)
    assert code == 1
    assert sentence in " ".join(err.split())


def test_another_folder_is_left_alone(here, kwise_file, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "mine.txt").write_text("x")
    code, _, err = build(here, kwise_file, tmp_path / "p")
    assert code == 1
    assert "something else" in err
