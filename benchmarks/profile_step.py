"""Where the time of a training step goes: shares of real `truing train` steps, by kind of work.

    python benchmarks/profile_step.py --case qa-k4 --case hh-15m
    python benchmarks/profile_step.py --case hh-135m --engine packed --json profile.json

One process, the rows and settings of `engine.py`. torch's profiler counts each operation's own time
from the end of the steps that are left out to the end of the last; what is no operation of torch
(Python, the loader, the metrics) is the rest of the clock's time. The profiler itself costs some
per cent: shares are what is read here, seconds stand in `engine.py`.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from cases import CASES
from engine import options_of
from peers import bench_common as common
from peers import vocabulary_of
from torch.profiler import ProfilerActivity, profile
from truing_run import Clock, arguments, run_keys

import truing

# The first kind whose beginning an operation's name has.
KINDS = {
    "products of matrices": ("aten::mm", "aten::addmm", "aten::bmm", "aten::_addmm", "mkl"),
    "attention": ("aten::_scaled_dot_product", "aten::_flash_attention"),
    "optimizer": ("Optimizer", "aten::_fused_adam", "aten::_foreach", "aten::addcmul",
                  "aten::addcdiv", "aten::linalg_vector_norm"),
    "head: sums over the vocabulary": ("aten::logsumexp", "aten::exp", "aten::amax", "aten::sum",
                                       "aten::_log_softmax", "aten::_softmax"),
    "moving memory": ("aten::copy_", "aten::cat", "aten::index", "aten::gather", "aten::scatter",
                      "aten::fill_", "aten::zero_", "aten::embedding"),
}  # fmt: skip
REST, OUTSIDE = "other operations", "outside of torch"


class Profiled(Clock):
    """Profiles the training from the end of a given step on."""

    def __init__(self, skip_steps: int) -> None:
        super().__init__()
        self.skip_steps = skip_steps
        self.profile = profile(activities=[ProfilerActivity.CPU], acc_events=True)
        self.began = self.seconds = 0.0

    def advance(self, done: int = 1, *, note: str = "") -> None:
        """A step has ended; the last that is left out starts the profile."""
        super().advance(done, note=note)
        if done and len(self.ends) == self.skip_steps + 1:
            self.began = time.perf_counter()
            self.profile.start()

    @contextmanager
    def task(self, *, total: int | None, description: str) -> Any:
        """The training ends the profile."""
        with super().task(total=total, description=description) as task:
            yield task
        if description == "training":
            self.seconds = self.ends[-1] - self.began
            self.profile.stop()


def shares(clock: Profiled) -> dict[str, float]:
    """Each kind's part of the clock's time; together 1."""
    spent: dict[str, float] = defaultdict(float)
    for event in clock.profile.key_averages():
        spent[kind_of(event.key)] += event.self_cpu_time_total / 1e6
    spent[OUTSIDE] = max(0.0, clock.seconds - sum(spent.values()))
    whole = sum(spent.values())
    return {name: round(spent[name] / whole, 4) for name in (*KINDS, REST, OUTSIDE)}


def kind_of(operation: str) -> str:
    """The kind of work that an operation of torch is."""
    return next((kind for kind, names in KINDS.items() if operation.startswith(names)), REST)


def measure(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """One case, profiled in this process."""
    case = CASES[name]
    with tempfile.TemporaryDirectory(prefix="truing-bench-") as place:
        folder = Path(place)
        options = [*options_of(case, args, folder), "--engine", args.engine]
        run = arguments().parse_args(options)
        torch.set_num_threads(run.threads)
        clock = Profiled(run.skip_steps)
        tokenizer = common.load_tokenizer(run.tokenizer, run.data, vocabulary_of(run.model))
        keys = run_keys(run, tokenizer, folder)
        truing.train(progress=clock, **keys)
    return {"case": name, "engine": args.engine, "seconds": clock.seconds, "shares": shares(clock)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", choices=tuple(CASES), required=True)
    parser.add_argument("--engine", choices=("shared", "packed", "padded"), default="shared")
    parser.add_argument("--max-length", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lr", type=float, default=1e-5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = []
    for name in args.case:
        found.append(measure(name, args))
        print(f"\n{name}, engine={args.engine}")
        for kind, share in sorted(found[-1]["shares"].items(), key=lambda item: -item[1]):
            print(f"  {kind:32}{share:7.1%}")
        sys.stdout.flush()
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
