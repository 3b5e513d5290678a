"""What is measured: which rows, which shape of model, which settings."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from peers import BENCH, MODELS, PREFERENCES, bench_common

HERE = Path(__file__).resolve().parent
WEIGHTS = HERE.parent / "models"


@dataclass(frozen=True)
class Tool:
    """A program that prints one JSON line, with the options that make it this tool."""

    name: str
    command: tuple[str, ...]


def _truing(name: str, engine: str, *options: str) -> Tool:
    return Tool(name, (str(HERE / "truing_run.py"), "--engine", engine, *options))


TRUING = _truing("truing", "shared")
TRUING_PACKED = _truing("truing_packed", "packed")
# Smaller passes: the padded path keeps the logits of every position.
TRUING_PADDED = _truing("truing_padded", "padded", "--tokens", "8192")
TRL_CACHED = Tool("trl_cached", (str(BENCH / "peer_trl.py"), "--mode", "precomputed"))
TRL_EACH_STEP = Tool("trl_each_step", (str(BENCH / "peer_trl.py"), "--mode", "reference"))
PADDED = Tool("padded", (str(BENCH / "padded_baseline.py"),))
GEMM_BOUND = Tool("gemm_bound", (str(BENCH / "gemm_bound.py"),))


def _on_device(name: str) -> Tool:
    return Tool(name, (str(HERE / "device_peers.py"), "--tool", name))


def _with_weights(tool: Tool) -> Tool:
    """A peer that starts from the weights of a folder; Truing does so by itself."""
    program = Path(tool.command[0])
    if program.parent != BENCH:
        return tool
    own = str(HERE / "peers_with_weights.py")
    return Tool(tool.name, (own, program.name, *tool.command[1:]))


# Truing and the plain baseline stand between the slow ones, so that a slow minute hits both sides.
ROUND = (TRUING, PADDED, TRL_CACHED, GEMM_BOUND, TRUING_PACKED, TRL_EACH_STEP, TRUING_PADDED)
QUICK_ROUND = (
    TRUING,
    PADDED,
    TRL_CACHED,
    TRUING,
    PADDED,
    TRL_EACH_STEP,
    TRUING,
    PADDED,
    GEMM_BOUND,
    TRUING_PACKED,
    TRUING_PADDED,
)
OURS = (TRUING, TRUING_PACKED, TRUING_PADDED)
GPU_ROUND = (*map(_on_device, ("trl_default", "trl_best", "bound")), *OURS)


@dataclass(frozen=True)
class Case:
    """One comparison.

    Args:
        data: a file below the preference sets.
        model: a configuration of the peers, or of `models` beside this file; or a folder of
            weights in the repository's `models`.
        batch: rows of one optimizer step.
        pairs: rows in all.
        skip_steps: first steps that are not timed.
        tools: of one round, in their order.
        lora: rank of the adapters; 0: all weights learn.
        options: more options, for Truing alone.
        in_order: rows as they stand in the file, instead of shuffled by the seed.
        dtype: of the products; weights are float32.
    """

    data: str
    model: str = "llama-15m"
    batch: int = 8
    pairs: int = 48
    skip_steps: int = 2
    tools: tuple[Tool, ...] = ROUND
    lora: int = 0
    options: tuple[str, ...] = ()
    in_order: bool = False
    dtype: str = "float32"

    @property
    def model_path(self) -> Path:
        """The configuration's file, or the folder with weights."""
        name = f"{self.model}.json"
        paths = (HERE / "models" / name, MODELS / name)
        return next((path for path in paths if path.is_file()), WEIGHTS / self.model)

    @property
    def is_there(self) -> bool:
        """Whether the model can be built: a configuration always, weights where they were put."""
        return self.model_path.is_file() or (self.model_path / "config.json").is_file()


HH, ULTRAFEEDBACK = "hh-harmless/train.jsonl", "ultrafeedback-sample/train.jsonl"
CASES: Mapping[str, Case] = MappingProxyType(
    {
        "hh-15m": Case(HH),
        "hh-135m": Case(HH, model="smol-135m", batch=4, pairs=20),
        # The same shape with the weights it learned, and its own tokenizer.
        "hh-smollm2": Case(
            HH,
            model="SmolLM2-135M-Instruct",
            batch=4,
            pairs=20,
            tools=tuple(map(_with_weights, ROUND)),
        ),
        "hh-15m-lora": Case(HH, lora=8),
        "ultrafeedback-15m": Case(ULTRAFEEDBACK, pairs=40),
        # Four responses a prompt, all six pairs of them: each response is computed once.
        "qa-k4": Case(
            "qa-feedback/kwise-train.jsonl",
            pairs=32,
            tools=OURS[:2],
            options=("--in-order",),
            in_order=True,
        ),
        # Many rows with one prompt stand behind one another in this file.
        "tldr-shared-prompts": Case(
            "tldr-ratings/train.jsonl.gz",
            batch=32,
            pairs=160,
            tools=OURS[:2],
            options=("--in-order",),
            in_order=True,
        ),
    }
)
QUICK = Case(HH, pairs=24, skip_steps=1, tools=QUICK_ROUND)
GPU_CASES: Mapping[str, Case] = MappingProxyType(
    {
        f"{data.split('-', maxsplit=1)[0]}-{size}": Case(
            data,
            model=f"llama-{size}",
            batch=32,
            pairs=320,
            tools=GPU_ROUND,
            # Weights and AdamW of 8B do not fit one device.
            lora=16 if size == "8b" else 0,
            dtype="bfloat16",
        )
        for data in (HH, ULTRAFEEDBACK)
        for size in ("0.5b", "1b", "8b")
    }
)


def usable_rows(case: Case, tokenizer: Any, max_length: int, folder: Path) -> Path:
    """The case's rows that every tool can use, as one file.

    Left out: empty or equal responses, equal scores (no signal; the peers would train on them,
    Truing leaves them out), and a prompt of more than half the length. The peers cut a row at the
    length from its start: such a prompt would leave a response little room, or none.
    """
    source = PREFERENCES / case.data
    rows = _lines(source) if "kwise" in source.name else bench_common.read_rows(str(source))
    kept = [row for row in rows if _is_usable(row, tokenizer, max_length)]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    return path


def _lines(path: Path) -> list[dict[str, Any]]:
    read = gzip.open if path.suffix == ".gz" else open
    with read(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def _is_usable(row: dict[str, Any], tokenizer: Any, max_length: int) -> bool:
    responses = row.get("responses") or [row["chosen"], row["rejected"]]
    if len(set(row.get("scores", (0, 1)))) < 2 or not all(map(str.strip, responses)):
        return False
    return (
        len(set(responses)) == len(responses)
        and len(tokenizer(row["prompt"])["input_ids"]) <= max_length // 2
    )
