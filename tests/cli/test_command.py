"""The command as a user meets it: one sentence for each mistake, the right exit code, no trace."""

import json
import subprocess
import sys

import pytest

from truing.world import model_folder


def truing(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "truing", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "pairs.jsonl"
    row = {"prompt": "How are you?", "chosen": " I am well.", "rejected": " Go away now."}
    path.write_text("".join(json.dumps({**row, "prompt": f"{i}?"}) + "\n" for i in range(4)))
    return path


@pytest.mark.parametrize("place", ["folder", "file/below.jsonl", "n" * 300])
def test_a_path_that_the_system_refuses_is_no_bug(place, tmp_path, here):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    found = here("world", "pairs", tmp_path / place, "--count", 2)
    assert found.returncode == 1
    assert "the system refuses" in found.stderr
    assert "bug" not in found.stderr


def test_wrong_usage_is_2_and_an_unknown_verb_is_too(here):
    assert here("train", "--modle", "x").returncode == 2
    assert here("trian").returncode == 2
    assert "truing 0" in here("--version").stdout


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("learnig_rate=1", "unknown key `learnig_rate`"),
        ("objective=dop()", "did you mean dpo"),
        ("objective=dpo(beta=-1)", "must be greater than 0"),
        ("model=nowhere/at-all", "there is no such folder"),
        ("data=nowhere.jsonl", "nowhere.jsonl"),
        ("reference=emma()", "there is no emma"),
        ("trainer.nonsense=1", "trainer.nonsense"),
        ("max_length=3", "left"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(key, sentence, good, tmp_path, here):
    output = tmp_path / "run"
    flags = {"model": model_folder(), "data": good, "output": output}
    name, _, value = key.partition("=")
    flags[name] = value
    found = here("train", *(f"{k}={v}" for k, v in flags.items()))
    said = " ".join(found.stderr.split())
    assert found.returncode == 1, said
    assert sentence in said
    assert "Traceback" not in said
    assert "error:" in said
    assert not output.exists()
    assert found.stdout == ""


def test_whoever_reads_json_gets_the_error_as_json(good, tmp_path, here):
    flags = ("--model", "nowhere/at-all", "--data", good, "--output", tmp_path / "run")
    found = here("train", *flags, "--json")
    assert found.returncode == 1
    error = json.loads(found.stdout)["error"]
    assert error["where"] == "nowhere/at-all"
    assert "there is no such folder" in error["what"]
    assert error["fix"]
    assert "error:" in found.stderr


def test_a_recipe_that_cannot_be_read_is_a_fault_that_check_tells(tmp_path, here):
    found = here("check", tmp_path / "none.yaml", "--json")
    assert found.returncode == 1
    report = json.loads(found.stdout)
    assert report["good"] is False
    assert "cannot be read" in report["faults"][0]["what"]


def test_an_empty_question_is_a_mistake(here):
    found = here("chat", model_folder(), "", "--alone")
    assert found.returncode == 1
    assert "there is no question" in found.stderr


def test_a_flag_and_an_override_of_one_key_is_a_mistake(good, here):
    found = here("train", "--model", "a", "model=b", f"data={good}", "output=c")
    assert found.returncode == 1
    assert "given as a flag and as an override" in found.stderr


def test_the_catalogue_holds_every_name_and_an_explanation_its_formula(here):
    names = {entry["name"] for entry in json.loads(here("objectives", "--json").stdout)}
    assert {"dpo", "sampo", "odpo", "minor_dpo", "averaged", "mrpo", "kto", "tdpo"} <= names
    found = here("explain", "averaged(dpo(beta=5.0))").stdout
    assert "log sigmoid" in found
    assert "effective beta" in found
    assert here("objectives", "no-such-word").returncode == 1


def test_inspect_judges_and_the_json_always_prints(here, good, tmp_path):
    page = tmp_path / "page.html"
    report = json.loads(here("inspect", good, "--html", page, "--json").stdout)
    assert report["counts"]["rows"] == 4
    assert page.exists()
    bad = here("inspect", tmp_path / "nowhere.jsonl", "--json")
    assert bad.returncode == 1
    assert json.loads(bad.stdout)["exit_code"] == 1


def test_split_and_convert_write_what_they_say(here, good, tmp_path):
    found = json.loads(here("split", good, tmp_path / "parts", "--test", "0.5", "--json").stdout)
    assert sum(found["files"].values()) == 4
    assert here("convert", good, tmp_path / "u.jsonl", "--to", "unpaired").returncode == 0
    assert len((tmp_path / "u.jsonl").read_text().splitlines()) == 8


def test_debug_shows_the_trace(good, tmp_path):
    found = truing(
        "--debug", "train", "model=no/where", f"data={good}", f"output={tmp_path / 'run'}"
    )
    assert "Traceback" in found.stderr


@pytest.mark.parametrize("place", ["learning_rate=1e-6_0a/run.yaml", "learning_rate=1e-6.yaml"])
def test_a_recipe_may_lie_where_a_sweep_has_put_it(place, good, tmp_path, here, monkeypatch):
    recipe = tmp_path / place
    recipe.parent.mkdir(exist_ok=True)
    recipe.write_text(f"model: {model_folder()}\ndata: {good}\nmax_length: 3\n")
    monkeypatch.chdir(tmp_path)
    report = json.loads(here("check", place, f"output={tmp_path / 'run'}", "--json").stdout)
    [fault] = report["faults"]
    assert "left" in fault["what"]


def test_resume_takes_nothing_beside_it(tmp_path, here):
    found = here("train", "--resume", tmp_path, "epochs=3")
    assert found.returncode == 2
    assert "no effect" in " ".join(found.stderr.split())


def test_json_is_one_object_and_nothing_else(good, tmp_path):
    found = truing(
        "train",
        *("--model", model_folder(), "--data", good, "--output", tmp_path / "run", "--json"),
        "pairs_per_step=4",
    )
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    assert result["finished"] is True
    assert result["steps"] == 1
