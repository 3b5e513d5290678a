"""The run folder: what lies in it, written so that a kill at any moment leaves it whole."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from truing.errors import ConfigError, ResumeError

CONFIG = "run.yaml"
METRICS = "metrics.jsonl"
ALARMS = "alarms.jsonl"
DATA = "data.json"
EVALUATION = "evaluation.json"
SAMPLES = "samples.jsonl"
FINISHED = "finished.json"
_ASIDE = ".writing"


def write_atomically(path: Path, text: str) -> None:
    """The whole text or the file as it was."""
    aside = aside_of(path)
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """One JSON object, whole or not at all."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def folder_written_aside(path: Path) -> Iterator[Path]:
    """A folder to fill; it takes its name when the block ends, and is gone if the block raises."""
    aside = begin_aside(path)
    try:
        yield aside
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    end_aside(path)


def aside_of(path: Path) -> Path:
    """Where a folder or file is written before it takes its name."""
    return path.with_name(f".{path.name}{_ASIDE}")


def begin_aside(path: Path) -> Path:
    """An empty folder to fill in place of `path`."""
    aside = aside_of(path)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    return aside


def end_aside(path: Path) -> None:
    """All files lie on the disk, and the folder takes its name."""
    aside = aside_of(path)
    for file in aside.rglob("*"):
        if file.is_file():
            _flush(file)
    before = path.with_name(f".{path.name}.before{_ASIDE}")
    shutil.rmtree(before, ignore_errors=True)
    if path.exists():
        path.replace(before)
    aside.replace(path)
    _flush(path.parent)
    shutil.rmtree(before, ignore_errors=True)


def remove(path: Path) -> None:
    """A folder that is whole until it is gone."""
    aside = aside_of(path)
    shutil.rmtree(aside, ignore_errors=True)
    path.replace(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def alone_in(run: Path) -> Iterator[None]:
    """No other process of this machine writes to the run until the block ends.

    The lock is the kernel's, so a killed process leaves none behind.

    Raises:
        ResumeError: another one does.
    """
    digest = hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"truing-{os.getuid()}-{digest}.lock"
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ResumeError(
                "another process is at work in this folder",
                where=str(run),
                fix="wait until it has ended, or take another output folder",
            ) from error
        yield


def checkpoints(run: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    found = [path for path in run.glob("checkpoint-*") if path.name.split("-")[-1].isdigit()]
    return sorted(found, key=step_of)


def rotate(run: Path, limit: int | None, best: str | None) -> None:
    """Keep the last checkpoints by their steps, `limit` of them, the best one among them.

    Args:
        run: the run folder.
        limit: how many; None or 0: all.
        best: path of a checkpoint that is kept whatever its step.
    """
    found = checkpoints(run)
    kept = {found[-1].name, *([Path(best).name] if best else [])} if found else set[str]()
    surplus = len(found) - max(limit or len(found), len(kept))
    for path in [path for path in found if path.name not in kept][: max(0, surplus)]:
        remove(path)


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which a checkpoint was written."""
    return int(checkpoint.name.split("-")[-1])


def refuse_used(output: Path, fix: str = "take another folder") -> None:
    """Nothing is written over something; what a process left that was killed as it began is none.

    Raises:
        ConfigError: a file is there, or a folder that holds something.
    """
    if not output.exists():
        return
    if output.is_dir() and all(path.match(f".*{_ASIDE}") for path in output.iterdir()):
        return
    raise ConfigError("there is something in the output folder already", where=str(output), fix=fix)


def sweep(run: Path) -> None:
    """Remove what a killed process left half written."""
    for path in run.glob(f".*{_ASIDE}"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """One JSON line more."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def cut_back(path: Path, step: int) -> None:
    """Leave out the lines after this step, and a last line that was not written whole."""
    if not path.exists():
        return
    kept = [line for line in path.read_text(encoding="utf-8").split("\n") if _is_until(line, step)]
    write_atomically(path, "".join(f"{line}\n" for line in kept))


def _is_until(line: str, step: int) -> bool:
    try:
        return bool(line) and int(json.loads(line)["step"]) <= step
    except (json.JSONDecodeError, KeyError):
        return False
