"""How long it takes to read, render and tokenise many pairs.

    python benchmarks/data.py --json data.json

The texts are real: UltraFeedback's, cut and joined to 500 tokens a prompt with its response (and a
prompt of 150 of them). Nothing is taken from a cache: the token cache lies in a folder of its own.
"""

import argparse
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SHARED = Path(os.environ.get("TRUING_SHARED", "../shared"))


def main() -> None:
    """Write the rows, prepare them twice (without and with the cache), inspect the first 10,000."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--pairs", type=int, default=50_000)
    arguments.add_argument("--tokens", type=int, default=500, help="of a prompt with a response")
    arguments.add_argument("--prompt", type=int, default=150, help="tokens of it in the prompt")
    arguments.add_argument("--tokenizer", default="smollm2-chatml")
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()

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
            start = time.perf_counter()
            prepared = prepare(path, tokenizer, max_length=4096, progress=BARS)
            seconds[name] = round(time.perf_counter() - start, 1)
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
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
    }
    text = json.dumps(result, indent=2)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n", encoding="utf-8")


def _inspected(path: Path, tokenizer: Path) -> float:
    from truing.cli.console import BARS
    from truing.jobs.inspect import inspect, write_html

    start = time.perf_counter()
    report = inspect(path, model=tokenizer, progress=BARS)
    write_html(report, path.with_suffix(".html"))
    return round(time.perf_counter() - start, 1)


def _write(path: Path, given: argparse.Namespace, tokenizer: object) -> None:
    """Conversations of the wanted length out of sentences of real responses, all different."""
    source = SHARED / "data/preferences/ultrafeedback-sample/train.jsonl"
    sentences = [
        sentence
        for line in source.read_text(encoding="utf-8").splitlines()
        for side in ("chosen", "rejected")
        for sentence in json.loads(line)[side][-1]["content"].split(". ")
    ]
    counted = [
        (one, len(ids)) for one, ids in zip(sentences, _ids(tokenizer, sentences), strict=True)
    ]
    draw = random.Random(0)

    def text(tokens: int) -> str:
        return ". ".join(_some(counted, tokens, draw))

    with path.open("w", encoding="utf-8") as file:
        for _ in range(given.pairs):
            row = {
                "prompt": [{"role": "user", "content": text(given.prompt)}],
                "chosen": [{"role": "assistant", "content": text(given.tokens - given.prompt)}],
                "rejected": [{"role": "assistant", "content": text(given.tokens - given.prompt)}],
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _ids(tokenizer: object, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False).input_ids  # type: ignore[operator]


def _some(counted: list[tuple[str, int]], tokens: int, draw: random.Random) -> Iterator[str]:
    while tokens > 0:
        sentence, length = draw.choice(counted)
        yield sentence
        tokens -= length + 1


if __name__ == "__main__":
    main()
