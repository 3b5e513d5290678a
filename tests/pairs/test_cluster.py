"""The same stages on a local cluster of two processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed")


def run(output: Path, *more: str) -> dict:
    arguments = [
        "pairs", "build", "--output", str(output), "--policy", "truing/world/start",
        "--prompts", "world(rows=12)", "--scorer", "world()", "--shard-rows", "3", "--keep-cut",
        "--sampler", "generate(num_responses=2, max_new_tokens=16)", "--json", *more,
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "truing", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "RAY_DEDUP_LOGS": "0", "RAY_USAGE_STATS_ENABLED": "0"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.soak
def test_two_processes_build_what_one_builds(tmp_path):
    one = run(tmp_path / "one")
    two = run(tmp_path / "two", "--workers", "2")
    assert one["new_shards"] == two["new_shards"] == 4
    for folder in ("samples", "manifest"):
        names = [
            {path.name: path.read_bytes() for path in (tmp_path / run / folder).iterdir()}
            for run in ("one", "two")
        ]
        assert names[0] == names[1]
