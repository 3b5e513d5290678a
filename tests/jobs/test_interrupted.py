"""Nothing is lost: a run that was killed at any moment ends with the same bits."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

KILLS = 5
SOAK_KILLS = 30
STEPS = 18


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


@pytest.fixture(scope="module")
def undisturbed(least, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole") / "run"
    process = start(keys(least, output))
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output


@pytest.mark.parametrize("kills", [KILLS, pytest.param(SOAK_KILLS, marks=pytest.mark.soak)])
def test_killed_at_random_moments_a_run_ends_with_the_same_weights(
    kills, least, undisturbed, tmp_path
):
    output = tmp_path / "run"
    moments = random.Random(kills)
    arguments = keys(least, output)
    for kill in range(kills):
        process = start(arguments)
        # Anywhere in a step, a checkpoint or, the first time, the reference pass.
        done = steps_done(output)
        last = max(done, STEPS * (kill + 1) // kills - 2)
        wait_for(output, moments.randint(done, last), process)
        time.sleep(moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if (output / "finished.json").exists():  # the moment came too late
            assert kill >= kills // 2
            break
        arguments = ["--resume", output] if (output / "run.yaml").exists() else arguments
    else:
        process = start(["--resume", output])
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    whole, resumed = (load_file(run / "model.safetensors") for run in (undisturbed, output))
    assert whole.keys() == resumed.keys()
    assert all(whole[name].equal(resumed[name]) for name in whole)
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert not list(output.glob(".*writing*"))


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
