"""kill -9 at random moments: the run that goes on ends with the bits of an undisturbed one."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from truing.world import model_folder

KILLS, SOAK_KILLS = 8, 30
STEPS = 6
LIMIT_S = 60


class Killer:
    """Runs of one recipe, each in a folder and with a cache of its own."""

    def __init__(self, arguments, place: Path) -> None:
        self._arguments, self._place, self._runs = arguments, place, 0
        command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("killed.py"))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def begin(self) -> Path:
        """The folder of a run to come."""
        self._runs += 1
        return self._place / str(self._runs) / "run"

    def go(self, run: Path, **moment) -> dict:
        """Begin the run or go on with it, until the moment or the end."""
        run.parent.mkdir(exist_ok=True)
        has_begun = (run / "run.yaml").exists()
        order = {
            "arguments": ["train", "--resume", str(run)] if has_begun else self._first(run),
            "log": str(run.parent / "log"),
            "cache": str(run.parent / "cache"),
            "watched": str(run.parent),
            **moment,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        assert found.get("code", 0) == 0, Path(order["log"]).read_text()
        return found

    def _first(self, run: Path):
        return ["train", *self._arguments, f"output={run}"]

    def close(self) -> None:
        """No more runs."""
        self._process.communicate(timeout=LIMIT_S)


@pytest.fixture(scope="module")
def killer(data, tmp_path_factory):
    keys = {
        "model": model_folder(),
        "data": data,
        "pairs_per_step": 4,
        "learning_rate": 3e-4,
        "seed": 5,
        "objective": "dpo(beta=0.5)",
        # The sampler speaks before and after, and held-out rows are scored by the way.
        "evaluation.data": data,
        "evaluation.rows": 4,
        "evaluation.samples": 1,
        "evaluation.every": 3,
        "trainer.save_steps": 1,
    }
    killer = Killer([f"{key}={value}" for key, value in keys.items()], tmp_path_factory.mktemp("k"))
    yield killer
    killer.close()


@pytest.fixture(scope="module")
def calm(killer):
    """An undisturbed run: its folder, how often it touched a file, how long it took."""
    run = killer.begin()
    return run, killer.go(run)


def same_end(calm: Path, run: Path) -> None:
    whole, resumed = (load_file(path / "model.safetensors") for path in (calm, run))
    assert whole.keys() == resumed.keys()
    assert all(whole[name].equal(resumed[name]) for name in whole)
    assert (run / "samples.jsonl").read_bytes() == (calm / "samples.jsonl").read_bytes()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, STEPS + 1))
    assert not list(run.glob(".*writing*"))


@pytest.mark.parametrize("kills", [KILLS, pytest.param(SOAK_KILLS, marks=pytest.mark.soak)])
def test_killed_at_random_moments_a_run_ends_with_the_same_bits(kills, killer, calm):
    folder, whole = calm
    draw = random.Random(kills)
    assert whole["events"] > 50
    killed, run = 0, killer.begin()
    while killed < kills:
        # Between two changes of a file, or anywhere: reference pass, sampler, step, checkpoint.
        moment = draw.choice(
            [
                {"event": draw.randint(1, whole["events"])},
                {"seconds": draw.uniform(0.01, whole["seconds"])},
            ]
        )
        found = killer.go(run, **moment)
        killed += found["killed"]
        if (run / "finished.json").exists():
            same_end(folder, run)
            run = killer.begin()
    killer.go(run)
    same_end(folder, run)
