"""Commands of `truing` in children that are killed at a moment, one line of JSON for each.

Reads `{"arguments": [...], "log": FILE, "cache": FOLDER, "watched": FOLDER}` and one of

    "event": N     killed as it touches a file of the watched folder for the N-th time
    "seconds": S   killed so many seconds after its start

or neither; answers with `{"killed": ..., "code": ..., "events": ..., "seconds": ...}`. A child is a
copy of this process, which has imported all that a run needs, so a moment is one of the run and
not of Python's start.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

import truing.jobs.train
import truing.training.trainer
from truing.cli import app

assert truing.training.trainer
# Of Python's audit: what changes the file system, or is about to.
TOUCHES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}


def watch(told: dict[str, Any], order: dict[str, Any]) -> None:
    """Count what happens to the files of the run, and end at the moment that was asked for."""
    moment = order.get("event")

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event not in TOUCHES or not str(args[0]).startswith(order["watched"]):
            return
        told["events"] += 1
        if told["events"] == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    if "seconds" in order:
        # The kernel ends the process at once, as it does for SIGKILL.
        signal.setitimer(signal.ITIMER_REAL, order["seconds"])


def child(order: dict[str, Any]) -> None:
    """The command, whose words go to the log; the last line of it is what was counted."""
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ["TRUING_CACHE"] = order["cache"]
    torch.set_num_threads(1)
    told: dict[str, Any] = {"events": 0}
    watch(told, order)
    began = time.monotonic()
    sys.argv = ["truing", *order["arguments"]]
    code = 0
    try:
        app.main()
    except SystemExit as ended:
        code = ended.code
    told["seconds"] = time.monotonic() - began
    os.write(log, ("\n" + json.dumps({**told, "code": code})).encode())
    os._exit(0)


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """Run one command; how it ended."""
    number = os.fork()
    if number == 0:
        child(order)
    _, status = os.waitpid(number, 0)
    if os.WIFSIGNALED(status):
        return {"killed": True}
    return {"killed": False, **json.loads(Path(order["log"]).read_text().splitlines()[-1])}


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()
