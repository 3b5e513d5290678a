"""Run by `torchrun` in every process: the runs of a file, one after the other.

A run is a call of `train`, or `{"again": RUN, "output": COPY}`: a copy of a finished run that is
put back to its checkpoint after step 2 and goes on.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

from truing import train
from truing.jobs.train import resume


def put_back(run: Path, copy: Path) -> Path:
    """The copy."""
    shutil.copytree(run, copy)
    (copy / "finished.json").unlink()
    for step in (3, 4):
        shutil.rmtree(copy / f"checkpoint-{step}", ignore_errors=True)
    return copy


def put_back_once(run: Path, copy: Path) -> Path:
    """The copy, made by the first process."""
    ready = copy.with_suffix(".ready")
    if os.environ["RANK"] == "0":
        put_back(run, copy)
        ready.touch()
    while not ready.exists():
        time.sleep(0.05)
    return copy


if __name__ == "__main__":
    for settings in json.loads(Path(sys.argv[1]).read_text()):
        if "again" in settings:
            resume(put_back_once(Path(settings["again"]), Path(settings["output"])))
        else:
            train(**settings)
