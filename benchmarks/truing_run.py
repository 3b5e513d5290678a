"""Speed and memory of real `truing train` steps on a data file. Prints one JSON line.

Takes the options of the peers' programs (TRUING_SHARED/bench) and prints the same kind of line. The
rows go through Truing's own reader, trainer, loader and logging; a step is timed from the end of
the one before it. The reference's pass is left out of the time, as for a peer with a cache.
"""

import json
import os
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
from peers import bench_common as common
from peers import vocabulary_of

import truing
from truing.core.progress import Silent
from truing.data import prepare
from truing.engine import ENGINES
from truing.jobs.check import check

LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Clock(Silent):
    """Notes when each training step ended; forgets the peak of memory when training begins."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.loaded_mb = 0.0

    def note(self, text: str) -> None:
        """What is said of the engine is said when the model has just been loaded."""
        if text.startswith("engine:"):
            self.loaded_mb = resident_mb()

    @contextmanager
    def task(self, *, total: int | None, description: str) -> Iterator[Any]:
        """Listen to the training alone."""
        if description != "training":
            with super().task(total=total, description=description) as task:
                yield task
            return
        common.reset_peak_rss()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self.ends.append(time.perf_counter())
        yield self

    def advance(self, done: int = 1, *, note: str = "") -> None:
        """A step has ended."""
        del note
        if done:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.ends.append(time.perf_counter())


def resident_mb() -> float:
    """Resident memory now, in MB (10**6 bytes)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def forecast_mb(keys: dict[str, Any]) -> dict[str, float]:
    """What a run is told to take at its peak, by what it is for."""
    cost = check(keys).cost
    assert cost is not None, "a run that was just done"
    return {name: round(size / 1e6, 1) for name, size in cost.memory.items()}


def write_rows(args: Any, folder: Path) -> Path:
    """The rows that the peers take, in their order."""
    path = folder / "rows.jsonl"
    rows = (
        rows_in_order(args.data, args.pairs)
        if args.in_order
        else common.load_pairs(args.data, args.pairs, args.seed)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_in_order(path: str, count: int) -> list[dict[str, Any]]:
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line.strip()][:count]


def model_folder(args: Any, folder: Path, tokenizer: Any) -> Path:
    """Random weights of the configuration, or a folder with real ones as it is."""
    if Path(args.model).is_dir():
        return Path(args.model)
    common.build_model(args.model, args.seed).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder / "model"


def settings(args: Any, model: Path, data: Path, output: Path) -> dict[str, Any]:
    """A run with the peers' settings."""
    lora = {"rank": args.lora, "alpha": 2 * args.lora, "dropout": 0.0, "targets": LORA_TARGETS}
    return {
        "model": str(model),
        "data": str(data),
        "objective": args.objective or f"dpo(beta={args.beta})",
        "output": str(output),
        "seed": args.seed,
        "learning_rate": args.lr,
        "pairs_per_step": args.batch,
        "tokens_per_device": args.tokens,
        "max_length": args.max_length,
        "engine": args.engine,
        "lora": lora if args.lora else None,
        "shuffle": False,
        "truncation": "cut",
        "dtype": args.dtype,
        "trainer": {
            "lr_scheduler_type": "constant",
            "save_strategy": "no",
            "gradient_checkpointing": args.gradient_checkpointing,
        },
    }


def forward_tokens(args: Any, examples: Any) -> dict[str, int]:
    """Tokens that each engine sends through the model for all rows, padding included."""
    found = {}
    for name in ("shared", "packed", "padded"):
        engine = ENGINES[name](args.tokens)
        total = 0
        for start in range(0, len(examples), args.batch):
            rows = [examples[i] for i in range(start, min(len(examples), start + args.batch))]
            for indices in engine.plan(rows):
                some = [rows[i] for i in indices]
                total += padded_tokens(some) if name == "padded" else packed_tokens(engine, some)
        found[name] = total
    return found


def packed_tokens(engine: Any, rows: list[Any]) -> int:
    return engine.layout(rows).tree.num_tokens


def padded_tokens(rows: list[Any]) -> int:
    width = max(len(row.prompt) + len(response) for row in rows for response in row.responses)
    return width * sum(len(row.responses) for row in rows)


def arguments() -> Any:
    """The peers' options, and those of Truing alone."""
    parser = common.arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--engine", choices=("shared", "packed", "padded"), default="shared")
    parser.add_argument("--tokens", type=int, default=32768, help="token budget of a forward pass")
    parser.add_argument("--in-order", action="store_true", help="rows as they stand in the file")
    parser.add_argument("--objective", help="default: dpo with --beta")
    return parser


def run_keys(args: Any, tokenizer: Any, folder: Path) -> dict[str, Any]:
    """The run's keys; its rows and model are written to the folder."""
    return settings(
        args, model_folder(args, folder, tokenizer), write_rows(args, folder), folder / "run"
    )


def main() -> None:
    args = arguments().parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory(prefix="truing-bench-") as name:
        folder = Path(name)
        tokenizer = common.load_tokenizer(args.tokenizer, args.data, vocabulary_of(args.model))
        clock = Clock()
        keys = run_keys(args, tokenizer, folder)
        truing.train(progress=clock, **keys)
        peak_mb = common.peak_rss_mb()
        told_mb = forecast_mb({**keys, "output": str(folder / "another")})
        lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
        steps = [line for line in map(json.loads, lines) if "loss" in line]
        examples = prepare(
            keys["data"], tokenizer, max_length=args.max_length, truncation="cut"
        ).examples
    assert len(examples) == args.pairs, f"{args.pairs - len(examples)} rows were left out"
    seconds = [end - start for start, end in zip(clock.ends, clock.ends[1:], strict=False)]
    lengths = [(len(row.prompt), *map(len, row.responses)) for row in examples]
    more = {} if not torch.cuda.is_available() else {"peak_gpu_mb": gpu_peak()}
    # A K-wise row counts one; its tokens per second leave out the copies of its prompt.
    pairs = [(length[0], length[1], sum(length[2:])) for length in lengths]
    print(
        common.result_line(
            f"truing-{args.engine}",
            args,
            seconds,
            pairs,
            peak_rss_mb=peak_mb,
            loaded_rss_mb=clock.loaded_mb,
            forecast_mb=told_mb,
            loss_first=steps[0]["loss"],
            loss_last=steps[-1]["loss"],
            forward_tokens=forward_tokens(args, examples),
            truing=truing.__version__,
            **more,
        )
    )


def gpu_peak() -> float:
    return round(torch.cuda.max_memory_allocated() / 1e6, 1)


if __name__ == "__main__":
    main()
