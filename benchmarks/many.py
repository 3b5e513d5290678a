"""What very many pairs cost: memory beside the model, and the time until the first step.

    python benchmarks/data.py --many 1000000 --json many.json

The rows are plain text, words of the embedded world's prompts drawn anew; the policy is the
embedded model. Runs are processes of their own, stopped after two steps: a small set for what
program and model take by themselves, the large one for the first time, again, and again with a
reference whose values lie in the store (put there without a model, so nothing is checked).
Memory is what a process has to itself (RssAnon): files that are mapped can be let go at any time.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SMALL = 1000
_TRAIN = """
import sys, json
from truing.cli.console import BARS
from truing import train
train(progress=BARS, **json.loads(sys.argv[1]))
"""
_FILL = """
import sys, json
import numpy as np
from truing.core.progress import SILENT
from truing.config import build_config
from truing.jobs.material import gather
from truing.jobs.references import compute
from truing.references.entries import Asked
from truing.references.store import shelves
keys, small = json.loads(sys.argv[1]), sys.argv[2]
compute(**{**keys, "data": small})
(shelf,) = shelves()
rows = gather(build_config(keys), SILENT, strict=False, skip_bad=None).examples
asked = Asked(rows)
names, step = list(asked.number), 20_000
for start in range(0, len(names), step):
    lengths = asked.lengths[start : start + step]
    shelf.put(names[start : start + step], [np.full(n, -1.0, dtype=np.float32) for n in lengths])
"""


@dataclass(frozen=True)
class Run:
    """A run that was watched.

    Args:
        seconds: from its start until the first step was done.
        own_bytes: most that it had to itself.
        mapped_bytes: most of mapped files that was in memory at once.
    """

    seconds: float
    own_bytes: int
    mapped_bytes: int


def many(pairs: int) -> dict[str, Any]:
    """All runs, one after the other."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        os.environ["TRUING_CACHE"] = str(place / "cache")
        small, large = place / "small.jsonl", place / "large.jsonl"
        for path, count in ((small, _SMALL), (large, pairs)):
            write_rows(path, count)
        bare = watched(place, small, "simpo()")
        runs = {
            "first time": watched(place, large, "simpo()"),
            "again": watched(place, large, "simpo()"),
        }
        fill(place, small, large)
        runs["again, with a reference"] = watched(place, large, "dpo()")
        return {
            "pairs": pairs,
            "file_gib": round(large.stat().st_size / 2**30, 2),
            "cache_gib": round(_size(place / "cache") / 2**30, 2),
            "of_program_and_model_gib": round(bare.own_bytes / 2**30, 2),
            "runs": {
                name: {
                    "seconds_to_first_step": round(run.seconds, 1),
                    "gib_beside_the_model": round((run.own_bytes - bare.own_bytes) / 2**30, 2),
                    "gib_of_mapped_files": round(run.mapped_bytes / 2**30, 2),
                }
                for name, run in runs.items()
            },
        }


def write_rows(path: Path, count: int) -> None:
    """Pairs of about 30 words a prompt and 40 a response."""
    from truing.world import prompts

    words = " ".join(prompt.text for prompt in prompts("train")).split()
    draw = random.Random(0)

    def text(number: int) -> str:
        start = draw.randrange(len(words) - number)
        return " ".join(words[start : start + number])

    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            row = {
                "prompt": f"{number}: {text(draw.randint(20, 40))}",
                "chosen": " " + text(draw.randint(20, 60)),
                "rejected": " " + text(draw.randint(20, 60)),
            }
            file.write(json.dumps(row) + "\n")


def _keys(place: Path, data: Path, objective: str) -> dict[str, Any]:
    from truing.world import model_folder

    return {
        "model": str(model_folder()),
        "data": str(data),
        "objective": objective,
        "output": tempfile.mkdtemp(dir=place),
        "pairs_per_step": 8,
        "checks": {"start": False, "references": False},
        "trainer": {"max_steps": 2, "save_strategy": "no"},
    }


def watched(place: Path, data: Path, objective: str) -> Run:
    """A run in a process of its own, and what it takes."""
    keys = _keys(place, data, objective)
    metrics = Path(keys["output"]) / "metrics.jsonl"
    started, first, own, mapped = time.perf_counter(), 0.0, 0, 0
    process = subprocess.Popen([sys.executable, "-c", _TRAIN, json.dumps(keys)])
    while process.poll() is None:
        facts = _memory(process.pid)
        own, mapped = max(own, facts.get("RssAnon", 0)), max(mapped, facts.get("RssFile", 0))
        if not first and metrics.exists() and metrics.stat().st_size:
            first = time.perf_counter() - started
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"the run ended with {process.returncode}")
    return Run(first, own, mapped)


def fill(place: Path, small: Path, large: Path) -> None:
    """Values for every response of the large set, on the shelf of the policy."""
    keys = json.dumps(_keys(place, large, "dpo()"))
    subprocess.run([sys.executable, "-c", _FILL, keys, str(small)], check=True)


def _memory(pid: int) -> dict[str, int]:
    """Bytes by name of the lines in /proc."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return {}
    lines = [line.split() for line in text.splitlines() if line.startswith("Rss")]
    return {name.rstrip(":"): int(size) * 1024 for name, size, *_ in lines}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
