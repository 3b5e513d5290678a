"""A step that does not fit into memory is done in smaller parts, and gives the same weights."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

# Runs in a process of its own: a limit on the address space cannot be taken back safely.
PROGRAM = """
import json, resource, sys
from contextlib import contextmanager
from truing import train

settings, room = json.loads(sys.argv[1]), int(sys.argv[2])

class Tight:
    notes = []
    def advance(self, done=1, *, note=""): pass
    @contextmanager
    def task(self, *, total, description):
        if description == "training" and room:
            pages = int(open("/proc/self/statm").read().split()[0])
            limit = pages * resource.getpagesize() + room
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        yield self
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    def track(self, items, *, total, description):
        yield from items
    def note(self, text):
        self.notes.append(text)

tight = Tight()
try:
    train(**settings, progress=tight)
finally:
    print(json.dumps(tight.notes))
"""
LONG, ROOM = 400, 160 * 2**20


@pytest.fixture
def long_rows(tmp_path) -> Path:
    """Pairs of some hundred tokens a side."""
    words = ["tea", "room", "hall", "soup", "cake", "view", "pool", "lamp", "desk"]
    path = tmp_path / "long.jsonl"
    rows = [
        {
            "prompt": f"Number {i}.",
            "chosen": " ".join(words[(i + k) % 9] for k in range(LONG // 2)),
            "rejected": " ".join(words[(i * k) % 9] for k in range(LONG // 2)),
        }
        for i in range(16)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(settings, room):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(settings), str(room)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


@pytest.fixture
def settings(least, long_rows):
    more = {"data": str(long_rows), "pairs_per_step": 16, "epochs": 2, "tokens_per_device": 16384}
    return {**least, **more, "trainer": {"save_strategy": "no"}}


def test_the_budget_is_halved_and_the_step_is_the_same(settings, tmp_path):
    whole, tight = tmp_path / "whole", tmp_path / "tight"
    assert run({**settings, "output": str(whole)}, 0).returncode == 0
    ended = run({**settings, "output": str(tight)}, ROOM)
    assert ended.returncode == 0, ended.stderr[-3000:]
    notes = json.loads(ended.stdout)
    assert any("out of memory at step 1: going on with tokens_per_device=8192" in n for n in notes)
    lines = [(x / "metrics.jsonl").read_text().splitlines() for x in (whole, tight)]
    for one, other in zip(*([json.loads(line) for line in x] for x in lines), strict=True):
        assert one["step"] == other["step"]
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
    one, other = (load_file(x / "model.safetensors") for x in (whole, tight))
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-4


def test_a_run_that_may_not_halve_stops_with_advice(settings):
    ended = run({**settings, "checks": {"memory": "stop"}}, ROOM)
    assert ended.returncode != 0
    assert "out of memory at step 1" in ended.stderr
    assert "set tokens_per_device=8192 or less" in ended.stderr
