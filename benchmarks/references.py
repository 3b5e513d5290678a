"""What computing references once saves, on real pairs.

    python benchmarks/references.py --json out.json

`bytes_per_token`: the store's bytes a response token, HH rows in the tokenizer of stories260K.
`reference_vs_training`: tokens a second of the reference pass over those of training, 15M shape.
`second_run_share`: what the second run of a sweep spends on its reference, over the first run's.
`sweep_ratio`: a sweep of ten strengths through the store, over the same sweep with the reference
at each step. Arms run in turns, each pair of runs in one process, so that a slow minute hits both.
"""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch
from peers import BENCH, SHARED, bench_common
from truing_run import rows_in_order

import truing
from truing.core.progress import Silent
from truing.jobs import run_references
from truing.jobs.references import compute, held

TARGETS = {
    "second_run_share": ("at most", 0.02),
    "reference_vs_training": ("at least", 2.5),
    "bytes_per_token": ("at most", 4.4),
    "sweep_ratio": ("at most", 0.8),
}
HH = SHARED / "data" / "preferences" / "hh-harmless" / "train.jsonl"
STRENGTHS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Clock(Silent):
    """Seconds of the training of a run."""

    def __init__(self) -> None:
        self.training = 0.0

    @contextmanager
    def task(self, *, total: int | None, description: str) -> Iterator[Any]:
        """Time the training alone."""
        started = time.perf_counter()
        with super().task(total=total, description=description) as task:
            yield task
        if description == "training":
            self.training = time.perf_counter() - started


class Pass:
    """A run's reference: all that it costs, proof of the engine included, and the pass alone."""

    def __init__(self) -> None:
        self.seconds, self.pass_seconds, self.tokens = 0.0, 0.0, 0
        self._read = run_references.RunReferences.read_start

    def __enter__(self) -> "Pass":
        read = self._read

        def timed(references: Any, model: Any, kind: str) -> None:
            started = time.perf_counter()
            read(references, model, kind)
            self.seconds += time.perf_counter() - started
            self.pass_seconds += sum(one.seconds for one in references.filled)
            self.tokens += sum(one.tokens for one in references.filled)

        run_references.RunReferences.read_start = timed  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        run_references.RunReferences.read_start = self._read  # type: ignore[method-assign]


def run(keys: dict[str, Any], output: Path, **more: Any) -> dict[str, float]:
    """One run: seconds of training, of its reference, and tokens of both."""
    clock = Clock()
    started = time.perf_counter()
    with Pass() as reference:
        truing.train(**keys, **more, output=str(output), progress=clock)
    whole = time.perf_counter() - started
    lines = (output / "metrics.jsonl").read_text().splitlines()
    tokens = sum(json.loads(line).get("tokens", 0) for line in lines)
    return {
        "whole": whole,
        "training": clock.training,
        "training_tokens": tokens,
        "reference": reference.seconds,
        "reference_pass": reference.pass_seconds,
        "reference_tokens": reference.tokens,
    }


def model_folder(folder: Path) -> Path:
    """The 15M shape with random weights, and a tokenizer of its vocabulary."""
    path = BENCH / "models" / "llama-15m.json"
    vocabulary = json.loads(path.read_text())["vocab_size"]
    bench_common.build_model(str(path), 0, "float32").save_pretrained(folder)
    bench_common.load_tokenizer(None, str(HH), vocabulary).save_pretrained(folder)
    return folder


def plain_rows(folder: Path, count: int) -> Path:
    """HH pairs as plain text, as the peers read them."""
    path = folder / "rows.jsonl"
    rows = bench_common.read_rows(str(HH))[:count]
    rows = [row for row in rows if row["chosen"].strip() and row["rejected"].strip()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def bytes_per_token(folder: Path, count: int) -> dict[str, float]:
    """The store after so many HH rows in the tokenizer of stories260K."""
    os.environ["TRUING_CACHE"] = str(folder / "bytes")
    rows = folder / "conversations.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in rows_in_order(str(HH), count)))
    done = compute(
        model=str(SHARED / "data" / "models" / "stories260K"),
        tokenizer=str(SHARED / "data" / "tokenizers" / "tok512-chatml"),
        data=str(rows),
        max_length=512,
    )
    (shelf,) = held()
    return {
        "bytes_per_token": shelf.size / shelf.tokens,
        "responses": shelf.responses,
        "tokens": shelf.tokens,
        "seconds": done.seconds,
    }


def sweep(folder: Path, pairs: int, runs: int) -> dict[str, Any]:
    """Ten strengths through the store and ten with the reference at each step, in turns."""
    os.environ["TRUING_CACHE"] = str(folder / "sweep")
    keys = {
        "model": str(model_folder(folder / "model")),
        "data": str(plain_rows(folder, pairs)),
        "pairs_per_step": 8,
        "max_length": 1024,
        "truncation": "cut",
        "learning_rate": 1e-5,
        "trainer": {"save_strategy": "no"},
    }
    stored, live = [], []
    for number, strength in enumerate(STRENGTHS[:runs]):
        keys["objective"] = f"dpo(beta={strength})"
        stored.append(run(keys, folder / f"stored-{number}"))
        # A reference that moves before the last step alone is the start at each step but that.
        every = math.ceil(pairs / keys["pairs_per_step"]) - 1
        live.append(run(keys, folder / f"live-{number}", reference=f"sync(every={every})"))
        tell(f"strength {strength}: {stored[-1]['whole']:.1f} s, {live[-1]['whole']:.1f} s")
    first, *later = stored
    speeds = [
        (first["reference_tokens"] / first["reference_pass"])
        / (one["training_tokens"] / one["training"])
        for one in stored
    ]
    return {
        "second_run_share": statistics.median(one["reference"] for one in later)
        / first["reference"],
        "reference_vs_training": statistics.median(speeds),
        "sweep_ratio": sum(one["whole"] for one in stored) / sum(one["whole"] for one in live),
        "stored": stored,
        "live": live,
    }


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="all figures")
    parser.add_argument("--pairs", type=int, default=64, help="of each run of the sweep")
    parser.add_argument("--rows", type=int, default=10**6, help="of HH in the store")
    parser.add_argument("--runs", type=int, default=10, help="strengths of the sweep")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory(prefix="truing-bench-") as name:
        folder = Path(name)
        found = {**bytes_per_token(folder, args.rows), **sweep(folder, args.pairs, args.runs)}
    figures = {name: round(found[name], 4) for name in TARGETS}
    print("| figure | value | target |\n| --- | --- | --- |")
    missed = []
    for name, (side, target) in TARGETS.items():
        value = figures[name]
        print(f"| {name} | {value} | {side} {target} |")
        if (value > target) if side == "at most" else (value < target):
            missed.append(name)
    if args.json:
        more = {
            "threads": args.threads,
            "pairs": args.pairs,
            "runs": args.runs,
            "details": found,
            "missed": missed,
        }
        args.json.write_text(json.dumps({**figures, **more}, indent=1) + "\n")
    if missed:
        raise SystemExit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
