"""Run by `torchrun` in every process: a run in which one process has a fault at some step.

Arguments: a file of settings, the fault (`dies`, `sleeps`, `asks`), the process that has it.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from truing.cli.exits import run
from truing.training.callbacks import StopOnSignal

settings, fault, rank = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], sys.argv[3]
STEP = 2


def strike() -> None:
    """What happens to the process."""
    faults = {
        "dies": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "sleeps": lambda: time.sleep(2),
        "asks": lambda: os.kill(os.getpid(), signal.SIGTERM),
    }
    faults[fault]()


class Struck(StopOnSignal):
    """Listens to the run as before, and is struck in the process that has the fault."""

    def on_step_begin(self, args, state, control, **_):
        if os.environ["RANK"] == rank and state.global_step == STEP:
            strike()


if __name__ == "__main__":
    from truing.jobs import train as job

    job.StopOnSignal = Struck
    sys.exit(run(lambda: job.train(**settings), debug=False))
