"""A step that does not fit into memory is done in smaller parts, and gives the same weights."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from truing import train

# Runs in processes of their own: a limit on the address space cannot be taken back safely.
PROGRAM = """
import json, os, resource, sys
from contextlib import contextmanager
from truing import train
import truing.training.trainer
from truing.core.progress import Silent

room = int(sys.argv[1])

class Tight(Silent):
    def advance(self, done=1, *, note=""): pass
    @contextmanager
    def task(self, *, total, description):
        if description == "training":
            pages = int(open("/proc/self/statm").read().split()[0])
            limit = pages * resource.getpagesize() + room
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        yield self
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    def note(self, text):
        print(text, flush=True)

for settings in json.loads(sys.argv[2]):
    if os.fork() == 0:
        train(**settings, progress=Tight())
        os._exit(0)
    os.wait()
"""
WORDS = ["tea", "room", "hall", "soup", "cake", "view", "pool", "lamp", "desk"]
BUDGET = 8192
# A step of all rows keeps more than this until its backward pass, one of half of them less.
ROOM = 110 * 2**20


@pytest.fixture(scope="module")
def settings(least_in, tmp_path_factory):
    """Two steps of pairs of some hundred tokens a side, in a folder of this name."""
    folder: Path = tmp_path_factory.mktemp("tight")
    rows = [
        {
            "prompt": f"Number {i}.",
            "chosen": " ".join(WORDS[(i + k) % 9] for k in range(120)),
            "rejected": " ".join(WORDS[(i * k) % 9] for k in range(120)),
        }
        for i in range(16)
    ]
    data = folder / "long.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    more = {"data": str(data), "pairs_per_step": 8, "tokens_per_device": BUDGET}
    trainer = {"save_strategy": "no"}
    return lambda name: {**least_in(folder / name), **more, "trainer": trainer}


@pytest.fixture(scope="module")
def whole(settings):
    """The run that has room enough."""
    return train(**settings("whole")).output


@pytest.fixture(scope="module")
def tight(settings):
    """A run that may halve and one that may not; what both said."""
    may_not = {**settings("stopped"), "checks": {"memory": "stop"}}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOM), json.dumps([settings("tight"), may_not])],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    return Path(str(settings("tight")["output"])), done


def test_the_budget_is_halved_and_the_step_is_the_same(whole, tight):
    run, done = tight
    halved = f"out of memory at step 1: going on with tokens_per_device={BUDGET // 2}"
    assert halved in done.stdout, done.stderr[-3000:]
    lines = [(x / "metrics.jsonl").read_text().splitlines() for x in (whole, run)]
    for one, other in zip(*([json.loads(line) for line in x] for x in lines), strict=True):
        assert one["step"] == other["step"]
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
    one, other = (load_file(x / "model.safetensors") for x in (whole, run))
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-4


def test_a_run_that_may_not_halve_stops_with_advice(tight):
    _, done = tight
    assert "out of memory at step 1" in done.stderr
    assert f"set tokens_per_device={BUDGET // 2} or less" in done.stderr
