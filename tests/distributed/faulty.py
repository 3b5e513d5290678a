"""Run by `torchrun` in every process: a run in which one process has a fault at some step.

Arguments: a file of settings, the fault (a key of `FAULTS`), the process that
has it.
"""

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

import torch

from truing.cli.exits import run
from truing.training import execute
from truing.training.callbacks import StopOnSignal

settings, fault, rank = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], sys.argv[3]
STEP = 2
SMALL = 100_000  # bytes


def fill_disk() -> None:
    """From now on this process can write small files alone."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, resource.RLIM_INFINITY))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def ask() -> None:
    """As a scheduler and the launcher do, one after the other."""
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)


def lack_memory() -> None:
    """Between forward and backward pass, where the other processes meet this one."""

    def refuse(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("not enough memory: you tried to allocate 8 bytes.")

    execute.join = refuse


FAULTS = {
    "dies": die,
    "dies_writing": lambda: sys.addaudithook(die_at_a_part),
    "sleeps": lambda: time.sleep(2),
    "asks": ask,
    "fills": fill_disk,
    "lacks_memory": lack_memory,
}


def die_at_a_part(event: str, args: tuple[object, ...]) -> None:
    """At the moment in which a process opens its part of a checkpoint."""
    if event == "open" and ".writing/optimizer/" in str(args[0]):
        die()


class Struck(StopOnSignal):
    """Listens to the run as before, and is struck in the process that has the fault."""

    def on_step_begin(self, args, state, control, **_):
        if os.environ["RANK"] == rank and state.global_step == STEP:
            FAULTS[fault]()


if __name__ == "__main__":
    from truing.jobs import train as job

    job.StopOnSignal = Struck
    sys.exit(run(lambda: job.train(**settings), debug=False))
