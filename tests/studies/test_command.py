"""`truing study`: killed and taken up again, its reserved words, wrong names."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SECONDS = 90


def truing(*words, **more):
    return subprocess.run(
        [sys.executable, "-m", "truing", "study", *words],
        capture_output=True, text=True, check=False, timeout=SECONDS, **more,
    )  # fmt: skip


def test_a_killed_study_goes_on_with_what_was_finished(tmp_path):
    command = [sys.executable, "-m", "truing", "study", "minor_dpo", "--scale", "smoke"]
    command += ["--output", str(tmp_path), "--jobs", "2"]
    study = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + SECONDS
    while not list(tmp_path.glob("cells/*.json")) and time.monotonic() < until:
        time.sleep(0.02)
    hands = psutil.Process(study.pid).children(recursive=True)
    os.kill(study.pid, signal.SIGKILL)
    study.wait()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/[!.]*.json")}
    assert kept
    assert not (tmp_path / "minor_dpo").exists()
    _, alive = psutil.wait_procs(hands, timeout=20)
    assert not alive, "a process outlived the study that it worked for"
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/[!.]*.json")}

    again = truing(
        "minor_dpo", "--scale", "smoke", "--output", str(tmp_path), "--jobs", "1", "--json"
    )
    assert again.returncode == 0, again.stderr
    values = json.loads(again.stdout)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(values["cells"]) == 4
    assert Path(values["page"]).is_file()
    assert f"{len(kept)} cells are there already" in again.stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["sampa"], 1, "did you mean sampo"),
        (["sampo", "--scale", "big"], 1, "no scale called"),
        (["sampo", "--model", "m"], 1, "give both --model and --data"),
        (["list", "--keep", "x"], 2, "takes only --json"),
        (["verify", "nowhere"], 1, "no kept results"),
    ],
)
def test_wrong_words_are_answered(words, code, told, tmp_path):
    found = truing(*words, cwd=tmp_path)
    assert found.returncode == code
    assert told in " ".join(found.stderr.replace("│", " ").split())


def test_the_kept_results_of_the_repository_say_what_their_numbers_say(repository):
    if not list((repository / "docs" / "studies").glob("*.json")):
        pytest.skip("nothing is kept in docs/studies")
    found = truing("verify", "--json", cwd=repository)
    assert found.returncode == 0, found.stderr
    for one in json.loads(found.stdout):
        assert one["faults"] == []
