import json

import pytest

from truing.cli.app import app
from truing.cli.exits import run
from truing.jobs.world import describe_world, write_world_page
from truing.world import KINDS, MODELS


@pytest.fixture(scope="module")
def values():
    return describe_world(samples=1)


def code_of(*arguments):
    """How the command ends, in this process."""
    try:
        return run(lambda: app([str(one) for one in arguments]), debug=False)
    except SystemExit as end:
        return end.code or 0


def test_the_world_is_described_in_plain_values(values):
    plain = json.loads(json.dumps(values))
    assert [model["name"] for model in plain["models"]] == list(MODELS)
    assert {sample["kind"] for sample in plain["samples"]} == set(KINDS)
    assert sum(plain["lengths"]["story"]["shares"]) == pytest.approx(1, abs=1e-3)


def test_the_dial_goes_from_fair_to_biased(values):
    wins = [row["longer_wins"] for row in values["dial"]]
    assert wins == sorted(wins)
    assert 0.45 <= wins[0] <= 0.52
    assert wins[-1] > 0.8


def test_the_page_holds_models_verdicts_and_figures(values, tmp_path):
    page = write_world_page(tmp_path / "deep" / "world.html", values).read_text()
    for model in values["models"]:
        assert model["what"] in page
    for sample in values["samples"]:
        assert sample["prompt"].strip() in page
        for response in sample["responses"]:
            assert all(sentence["kind"] in page for sentence in response["sentences"])
    assert "http://" not in page.split("<script>")[0]
    assert 'id="plot-dial"' in page


def test_the_command_writes_pairs_and_says_what_is_in_them(tmp_path, capsys):
    file = tmp_path / "pairs.jsonl"
    assert code_of("world", "pairs", file, "--length-bias", 1, "--count", 50, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert told["pairs"] == len(rows) == 50
    longer = [len(row["chosen"].split()) > len(row["rejected"].split()) for row in rows]
    assert sum(longer) / 50 == pytest.approx(told["longer_wins"], abs=0.1)


def test_too_many_pairs_are_the_users_error(tmp_path, capsys):
    assert code_of("world", "pairs", tmp_path / "x.jsonl", "--count", 99999) == 1
    assert "there are 3000" in capsys.readouterr().err
