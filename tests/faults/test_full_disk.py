"""No room left, or no leave: the run stops with a word, and what lay there before is whole."""

import ctypes
import resource
import signal
import sys
from pathlib import Path

import pytest

from truing import train
from truing.errors import ResumeError, StoppedError
from truing.jobs.train import resume
from truing.training import folder

# Bytes: less than the weights of the embedded model take; more than these, and less than the
# optimizer's state and than a report.
SMALL, MODEL = 100_000, 4_200_000


@pytest.fixture
def limit():
    """The size above which this process may write no file, as a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def as_anybody():
    """Without what the system lets root do: the modes of files hold for this thread too."""
    if sys.platform != "linux":
        yield
        return
    # Version 3 of the kernel's interface: effective, permitted and inheritable, two words each.
    libc, header = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(0x20080522, 0)
    powers = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, powers) == 0
    none = (ctypes.c_uint32 * 6)(*powers)
    none[0] = none[3] = 0
    assert libc.capset(header, none) == 0
    yield
    assert libc.capset(header, powers) == 0


class FillsUp:
    """A progress that fills the disk after some steps, or does anything else to it."""

    def __init__(self, limit, after: int, size: int = SMALL) -> None:
        self._limit, self._left, self._size = limit, after, size

    def advance(self, done=1, *, note=""):
        self._left -= done
        if self._left == 0:
            self._limit(self._size)

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


@pytest.mark.parametrize("size", [SMALL, MODEL], ids=["weights", "optimizer"])
def test_a_full_disk_stops_the_run_with_its_last_checkpoint_whole(least, limit, size):
    run = Path(str(least["output"]))
    with pytest.raises(StoppedError, match=r"(?s)checkpoint-4: cannot be written.*--resume"):
        train(**least, progress=FillsUp(limit, after=3, size=size))
    limit(resource.RLIM_INFINITY)
    assert StoppedError.exit_code == 3
    assert [path.name for path in folder.checkpoints(run)] == ["checkpoint-2"]
    assert not list(run.glob(".checkpoint*"))
    assert resume(run).steps == 6


@pytest.mark.parametrize("size", [SMALL, MODEL], ids=["weights", "report"])
def test_a_disk_that_is_full_at_the_end_stops_the_run_which_then_goes_on(least, limit, size):
    run = Path(str(least["output"]))
    with pytest.raises(StoppedError, match=rf"(?s)cannot be written.*--resume {run}$"):
        train(
            **{**least, "trainer": {"save_strategy": "no"}},
            progress=FillsUp(limit, after=6, size=size),
        )
    limit(resource.RLIM_INFINITY)
    assert not (run / folder.FINISHED).exists()
    assert resume(run).finished
    assert (run / "report.html").stat().st_size > size


def test_an_output_that_cannot_be_written_is_said_before_training(least, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(StoppedError, match="cannot be written"):
        train(**{**least, "output": str(blocked / "run")})


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "empty"])
def test_a_folder_that_may_not_be_written_is_said_before_training(
    least, as_anybody, tmp_path, is_there
):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    output = closed if is_there else closed / "run"
    with pytest.raises(
        StoppedError, match=r"(?s)cannot be written .Permission denied.*repeat the command"
    ):
        train(**{**least, "output": str(output)})
    assert not list(closed.iterdir())


def test_a_folder_that_is_closed_in_the_middle_stops_the_run(least, as_anybody):
    run = Path(str(least["output"]))
    with pytest.raises(StoppedError, match=r"checkpoint-4: cannot be written .Permission denied"):
        train(**least, progress=FillsUp(lambda _: run.chmod(0o500), after=3))
    run.chmod(0o700)
    assert [path.name for path in folder.checkpoints(run)] == ["checkpoint-2"]
    assert resume(run).steps == 6


def test_two_processes_never_share_a_folder(least, tmp_path):
    run = Path(str(least["output"]))
    with (
        folder.alone_in(run),
        pytest.raises(ResumeError, match="another process is at work in this folder"),
    ):
        train(**least)
    assert not run.exists()
