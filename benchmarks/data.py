"""How long it takes to read, render and tokenise many pairs.

    python benchmarks/data.py --json data.json
    python benchmarks/data.py --many 1000000 --json many.json     # see many.py

The texts are real: pieces of UltraFeedback's responses, 500 tokens a prompt with its response, 150
of them the prompt's; each pair is tokenised with both responses. Nothing is taken from a cache: the
token cache lies in a folder of its own.
"""

import argparse
import json
import os
import platform
import random
import tempfile
import time
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("TRUING_SHARED", "../shared"))


def main() -> None:
    """Write the rows, prepare them twice (without and with the cache), inspect the first 10,000."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--pairs", type=int, default=50_000)
    arguments.add_argument("--tokens", type=int, default=500, help="of a prompt with a response")
    arguments.add_argument("--prompt", type=int, default=150, help="tokens of it in the prompt")
    arguments.add_argument("--tokenizer", default="smollm2-chatml")
    arguments.add_argument(
        "--many",
        type=int,
        metavar="N",
        help="what N short pairs take: memory, time to the first step",
    )
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    if given.many is not None:
        from many import many

        _tell({**many(given.many), "machine": _machine()}, given.json)
        return

    from transformers import AutoTokenizer

    from truing.cli.console import BARS
    from truing.data import prepare

    folder = SHARED / "data/tokenizers" / given.tokenizer
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TRUING_CACHE"] = str(Path(scratch) / "cache")
        path = Path(scratch) / "pairs.jsonl"
        _write(path, given, tokenizer)
        seconds = {}
        for name in ("first time", "again, from the cache"):
            start, busy = time.perf_counter(), time.process_time()
            prepared = prepare(path, tokenizer, max_length=4096, progress=BARS)
            seconds[name] = round(time.perf_counter() - start, 1)
            seconds[f"{name}, of all cores"] = round(time.process_time() - busy, 1)
        summary = prepared.summary
        rows = path.read_text(encoding="utf-8").split("\n", 10_000)[:10_000]
        few = Path(scratch) / "few.jsonl"
        few.write_text("\n".join(rows), encoding="utf-8")
        seconds["inspect, 10,000 rows"] = _inspected(few, folder)
    result = {
        "pairs": summary.pairs,
        "tokens of prompt and response": round(
            summary.prompt_tokens / summary.rows + summary.response_tokens / summary.responses
        ),
        "tokens in all": summary.prompt_tokens + summary.response_tokens,
        "seconds": seconds,
        "pairs per second": round(summary.pairs / seconds["first time"]),
        "machine": _machine(),
    }
    _tell(result, given.json)


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def _tell(result: dict[str, Any], path: Path | None) -> None:
    text = json.dumps(result, indent=2)
    print(text)
    if path is not None:
        path.write_text(text + "\n", encoding="utf-8")


def _inspected(path: Path, tokenizer: Path) -> float:
    from truing.cli.console import BARS
    from truing.jobs.inspect import inspect, write_html

    start = time.perf_counter()
    report = inspect(path, model=tokenizer, progress=BARS)
    write_html(report, path.with_suffix(".html"))
    return round(time.perf_counter() - start, 1)


def _write(path: Path, given: argparse.Namespace, tokenizer: Any) -> None:
    """Conversations of the wanted length, cut at random places from all real responses."""
    source = SHARED / "data/preferences/ultrafeedback-sample/train.jsonl"
    ids = [
        token
        for line in source.read_text(encoding="utf-8").splitlines()
        for side in ("chosen", "rejected")
        for token in tokenizer(json.loads(line)[side][-1]["content"]).input_ids
    ]
    draw = random.Random(0)

    def text(tokens: int) -> str:
        start = draw.randrange(len(ids) - tokens)
        return tokenizer.decode(ids[start : start + tokens])

    with path.open("w", encoding="utf-8") as file:
        for _ in range(given.pairs):
            row = {
                "prompt": [{"role": "user", "content": text(given.prompt)}],
                "chosen": [{"role": "assistant", "content": text(given.tokens - given.prompt)}],
                "rejected": [{"role": "assistant", "content": text(given.tokens - given.prompt)}],
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
