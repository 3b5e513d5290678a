"""A run that somebody stops says how to go on, and goes on with its own data alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def command(*arguments):
    return [sys.executable, "-m", "truing", "train", *map(str, arguments)]


def keys(least, output):
    return [
        *(f"{key}={value}" for key, value in least.items() if key != "trainer"),
        f"output={output}",
        "epochs=3",
        "trainer.save_steps=2",
    ]


def start(arguments):
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def steps_done(run: Path) -> int:
    path = run / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def wait_for(run: Path, step: int, process) -> None:
    while steps_done(run) < step and process.poll() is None:
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_stop_leaves_a_checkpoint_and_says_how_to_go_on(least, tmp_path, number):
    output = tmp_path / "run"
    process = start(keys(least, output))
    wait_for(output, 3, process)
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert f"truing train --resume {output}" in "".join(errors.split("\n"))
    done = steps_done(output)
    assert (output / f"checkpoint-{done}" / "model.safetensors").exists()
    assert not (output / "finished.json").exists()


def test_changed_data_is_another_run(least, tmp_path):
    data = tmp_path / "pairs.jsonl"
    data.write_text(Path(str(least["data"])).read_text())
    output = tmp_path / "run"
    process = start(keys({**least, "data": data}, output))
    wait_for(output, 2, process)
    process.kill()
    process.communicate()
    data.write_text(data.read_text() + data.read_text().splitlines()[0] + "\n")
    found = subprocess.run(command("--resume", output), capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "is not the file that the run began with" in " ".join(found.stderr.split())
