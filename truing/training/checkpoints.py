"""Writing what a run leaves: whole or not there, also from several processes and on a full disk."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from zipfile import BadZipFile

from safetensors import SafetensorError

from truing.engine import ranks
from truing.errors import ResumeError, StoppedError
from truing.training import folder
from truing.training.parts import INDEX, PARTS, SCHEDULE

# Running scalars of the objective, in each checkpoint.
OBJECTIVE_STATE = "objective_state.json"
# What torch's writer says where the file system takes no more bytes, and where it took some.
_WRITER = ("PytorchStreamWriter failed", "inline_container.cc")
_READER = "PytorchStreamReader failed"


@contextmanager
def saved_aside(target: Path) -> Iterator[Path]:
    """A folder that all processes fill; it takes its name when every one of them is done.

    Raises:
        StoppedError: one of them could not write; nothing of this folder is left, and what was
            there before is as it was.
    """
    aside = folder.aside_of(target)
    try:
        with written_by_all(target):
            ranks.only_first(lambda: folder.begin_aside(target))
        with written_by_all(target):
            yield aside
        with written_by_all(target):
            ranks.only_first(lambda: folder.end_aside(target))
    except StoppedError:
        if ranks.is_first():
            shutil.rmtree(aside, ignore_errors=True)
        raise


@contextmanager
def written_by_all(target: Path) -> Iterator[None]:
    """Processes write, each by itself; where one cannot, all of them stop here.

    So none goes on to a meeting to which the others do not come.

    Raises:
        StoppedError: one of them could not write.
    """
    fault = None
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        fault = unwritable(error, target)
        if fault is None:
            raise
    first = next((one for one in ranks.gathered(fault) if one is not None), None)
    if first is not None:
        raise first


def refuse_partial(checkpoint: Path) -> None:
    """A checkpoint of which files are gone is not gone on from with what is left of it.

    Raises:
        ResumeError: names what is missing.
    """
    needed = {
        "weights": ("*.safetensors",),
        "the optimizer's state": ("optimizer.pt", f"{PARTS}/{INDEX}"),
        "the schedule": (SCHEDULE,),
        "the trainer's state": ("trainer_state.json",),
        "the objective's state": (OBJECTIVE_STATE,),
    }
    missing = [
        name
        for name, patterns in needed.items()
        if not any(any(checkpoint.glob(pattern)) for pattern in patterns)
    ]
    if missing:
        raise _damaged(checkpoint, f"without {', '.join(missing)}")


@contextmanager
def reading(checkpoint: Path) -> Iterator[None]:
    """A checkpoint is loaded; what it holds is numbers, and nothing in it is run.

    Raises:
        ResumeError: a file of it is damaged, or holds more than numbers.
    """
    try:
        yield
    except (SafetensorError, UnpicklingError, EOFError, BadZipFile) as error:
        raise _damaged(checkpoint, error) from error
    except RuntimeError as error:
        if _READER not in str(error):
            raise
        raise _damaged(checkpoint, error) from error


def _damaged(checkpoint: Path, error: BaseException | str) -> ResumeError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ResumeError(
        f"this checkpoint is damaged ({first[:200]})",
        where=str(checkpoint),
        fix="remove the folder; the run then goes on from the checkpoint before it, or anew",
    )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A file of the run is written.

    Raises:
        StoppedError: it cannot be.
    """
    try:
        yield
    except OSError as error:
        fault = unwritable(error, path)
        assert fault is not None, "the file system refuses with an OSError"
        raise fault from error


def unwritable(error: BaseException, path: Path) -> StoppedError | None:
    """The fault for the user; None for an error that is not the file system's."""
    text = str(error)
    is_disk = isinstance(error, OSError | SafetensorError) or any(one in text for one in _WRITER)
    if not is_disk:
        return None
    reason = getattr(error, "strerror", None) or text.strip().splitlines()[0][:200]
    run = path if (path / folder.CONFIG).is_file() else path.parent
    if not (run / folder.CONFIG).is_file():
        return StoppedError(
            f"cannot be written ({reason})",
            where=str(path),
            fix="make room, or get leave to write there, then repeat the command",
        )
    return StoppedError(
        f"cannot be written ({reason}); checkpoints before it are whole",
        where=str(path),
        fix=f"make room, then: truing train --resume {run}",
    )
