"""No room left: the run stops with a word, and what lay there before is whole."""

import resource
import signal
from pathlib import Path

import pytest

from truing import train
from truing.errors import ResumeError, StoppedError
from truing.jobs.train import resume
from truing.training import folder


@pytest.fixture
def limit():
    """The size above which this process may write no file, as a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


class FillsUp:
    """A progress that fills the disk after some steps."""

    def __init__(self, limit, after: int) -> None:
        self._limit, self._left = limit, after

    def advance(self, done=1, *, note=""):
        self._left -= done
        if self._left == 0:
            self._limit(100_000)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def task(self, *, total, description):
        return self if description == "training" else FillsUp(self._limit, 10**9)

    def track(self, items, *, total, description):
        yield from items

    def note(self, text):
        return None


def test_a_full_disk_stops_the_run_with_its_last_checkpoint_whole(least, limit, tmp_path):
    run = Path(str(least["output"]))
    with pytest.raises(StoppedError, match=r"(?s)checkpoint-4: cannot be written.*--resume"):
        train(**least, progress=FillsUp(limit, after=3))
    limit(resource.RLIM_INFINITY)
    assert StoppedError.exit_code == 3
    assert [path.name for path in folder.checkpoints(run)] == ["checkpoint-2"]
    assert not list(run.glob(".checkpoint*"))
    assert resume(run).steps == 6


def test_an_output_that_cannot_be_written_is_said_before_training(least, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(StoppedError, match="cannot be written"):
        train(**{**least, "output": str(blocked / "run")})


def test_two_processes_never_share_a_folder(least, tmp_path):
    run = Path(str(least["output"]))
    with (
        folder.alone_in(run),
        pytest.raises(ResumeError, match="another process is at work in this folder"),
    ):
        train(**least)
    assert not run.exists()
