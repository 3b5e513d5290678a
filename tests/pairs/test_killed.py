"""kill -9 at random moments: the manifest is that of an undisturbed build, byte for byte."""

import subprocess
import sys
from pathlib import Path

import pytest


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def killed(output: Path, kills: int, seed: int) -> int:
    script = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(output), str(kills), str(seed)],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


def test_a_killed_build_ends_as_a_calm_one(tmp_path):
    assert killed(tmp_path / "out", 3, seed=1) >= 1
    assert contents(tmp_path / "out") == contents(tmp_path / "out.calm")


@pytest.mark.soak
def test_twenty_kills_change_nothing(tmp_path):
    assert killed(tmp_path / "out", 20, seed=2) >= 10
    assert contents(tmp_path / "out") == contents(tmp_path / "out.calm")
