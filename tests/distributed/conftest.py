"""Runs of several processes on this machine, and the same runs in one."""

import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from truing import train
from truing.world import model_folder, prompts

NOUNS = ("tea", "room", "hall", "soup", "cake", "view", "pool", "lamp", "desk", "wine", "park")
# 25 rows in steps of 8: the last step has one row, which only one process can have.
ROWS, ROWS_PER_STEP = 25, 8
WORKER = Path(__file__).parent / "worker.py"


def sentence(draw: random.Random, words: int) -> str:
    return " ".join(draw.choice(NOUNS) for _ in range(words)) + "."


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> dict[str, str]:
    """Pairs of very different lengths, and texts of an auxiliary source."""
    folder, draw = tmp_path_factory.mktemp("data"), random.Random(3)
    pairs = [
        {
            "prompt": prompt.text,
            "chosen": sentence(draw, draw.randint(2, 12)),
            "rejected": sentence(draw, draw.randint(2, 40)),
        }
        for prompt in prompts("train")[:ROWS]
    ]
    texts = [{"prompt": "Say it.", "completion": sentence(draw, 5)} for _ in range(7)]
    found = {}
    for name, rows in (("pairs", pairs), ("texts", texts)):
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        found[name] = str(path)
    return found


@pytest.fixture(scope="session")
def keys(files):
    """The keys of a run of four uneven steps in float64, where rounding cannot hide a fault."""

    def of(output: Path, **more) -> dict[str, object]:
        return {
            "model": str(model_folder()),
            "data": files["pairs"],
            "output": str(output),
            "dtype": "float64",
            "pairs_per_step": ROWS_PER_STEP,
            "tokens_per_device": 256,
            "learning_rate": 3e-4,
            "seed": 5,
            **more,
            "trainer": {"save_strategy": "no", **more.get("trainer", {})},
        }

    return of


@pytest.fixture(scope="session")
def alone():
    """The run in this process."""
    return lambda settings: train(**settings)


def launch(processes: int, *arguments: object, with_accelerate: bool = False):
    """`torchrun` or `accelerate launch` with so many processes; what it said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    command += ["--master-addr", "127.0.0.1", "--master-port", port]
    if with_accelerate:
        command = ["-m", "accelerate.commands.launch", "--num_processes", str(processes)]
        # Without GPUs accelerate starts several processes under this name alone.
        command += ["--multi_gpu", "--num_machines", "1", "--main_process_port", port]
        command += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    return subprocess.run(
        [sys.executable, *command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ,
    )


@pytest.fixture(scope="session")
def torchrun():
    """See `launch`."""
    return launch


@pytest.fixture(scope="session")
def in_company(tmp_path_factory):
    """Several runs, one after the other, by the same processes."""

    def run(processes: int, runs: list[dict[str, object]]) -> None:
        settings = tmp_path_factory.mktemp("runs") / "runs.json"
        settings.write_text(json.dumps(runs))
        ended = launch(processes, WORKER, settings)
        assert ended.returncode == 0, ended.stderr[-4000:]

    return run
