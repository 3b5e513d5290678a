"""Making pairs: the sampler beside a hand-written loop, and selecting from a million rows.

    python benchmarks/pairs.py [--rows 1000000] [--prompts 256] [--json FILE]

The loop is what one writes by hand with transformers: prompts padded on the left, one forward pass
a token with its cache, multinomial draws, a mask of finished rows. Both sample the embedded model
on the same prompts, in turns, and are compared by seconds a generated token, since their draws
(and so their lengths) differ.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from truing.pairs import parse_selector, write_rows
from truing.pairs.shards import write_table
from truing.pairs.tables import SAMPLED, SCORED
from truing.responses import Sampling, sample
from truing.world import model_folder, prompts

NEW_TOKENS, BATCH, ROUNDS = 96, 64, 3


@torch.no_grad()
def by_hand(model, tokenizer, texts: list[str]) -> int:
    """The loop; how many tokens it drew."""
    total = 0
    order = sorted(texts, key=len)
    for start in range(0, len(order), BATCH):
        batch = tokenizer(order[start : start + BATCH], return_tensors="pt", padding=True)
        ids, mask = batch["input_ids"], batch["attention_mask"]
        cache, done = None, torch.zeros(len(ids), dtype=torch.bool)
        for _ in range(NEW_TOKENS):
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            out = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = out.past_key_values
            ids = torch.multinomial(out.logits[:, -1].float().softmax(dim=-1), 1)
            total += int((~done).sum())
            done |= ids[:, 0] == tokenizer.eos_token_id
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
            if bool(done.all()):
                break
    return total


def ours(model, tokenizer, texts: list[str]) -> int:
    """Truing's sampler on the same; how many tokens it drew."""
    ids = tokenizer(texts)["input_ids"]
    sampling = Sampling(max_new_tokens=NEW_TOKENS)
    groups = sample(model, tokenizer, ids, sampling=sampling, batch_size=BATCH)
    return sum(len(one.tokens) for group in groups for one in group)


def sampling(number: int) -> dict[str, float]:
    """Microseconds a token of both, the best of some rounds in turns."""
    model = AutoModelForCausalLM.from_pretrained(model_folder()).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    texts = [prompt.text for prompt in prompts("train")[:number]]
    for contender in (by_hand, ours):
        contender(model, tokenizer, texts[:BATCH])
    times: dict[str, list[float]] = {"by_hand": [], "ours": []}
    for _ in range(ROUNDS):
        for contender in (by_hand, ours):
            began = time.perf_counter()
            tokens = contender(model, tokenizer, texts)
            times[contender.__name__].append((time.perf_counter() - began) / tokens * 1e6)
    best = {name: min(values) for name, values in times.items()}
    return {**best, "ratio": best["ours"] / best["by_hand"]}


def selecting(rows: int, width: int = 4) -> dict[str, float]:
    """Seconds to select from so many prompts, responses of some 200 characters."""
    random = np.random.default_rng(0)
    words = [f"word{number} " * 25 for number in range(997)]
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        shards = []
        for number, start in enumerate(range(0, rows, 50_000)):
            size = min(50_000, rows - start)
            shards.append(Path(folder) / f"{number:05d}.parquet")
            write_table(_table(size, start, width, words, random), shards[-1])
        for expression in ("best_vs_worst()", "rs_dpo(eta=0.9)", "win_rates()", "kwise()"):
            began = time.perf_counter()
            found = write_rows(
                shards, parse_selector(expression), Path(folder) / "pairs.parquet", keep_cut=False
            )
            seconds[expression] = time.perf_counter() - began
            seconds[f"{expression} rows"] = found
    return seconds


def _table(size: int, start: int, width: int, words: list[str], random: np.random.Generator):
    said = random.integers(0, len(words), size * width)
    offsets = pa.array(np.arange(0, size * width + 1, width, dtype=np.int32))

    def lists(values: pa.Array) -> pa.ListArray:
        return pa.ListArray.from_arrays(offsets, values)

    columns = {
        "prompt": pa.array([f"prompt {start + number}" for number in range(size)]),
        "conversation": pa.array(np.zeros(size, dtype=bool)),
        "tools": pa.array([""] * size),
        "responses": lists(pa.array(words).take(pa.array(said))),
        "tokens": lists(pa.array(np.full(size * width, 50, dtype=np.int32))),
        "finished": lists(pa.array(np.ones(size * width, dtype=bool))),
        "given": lists(pa.nulls(size * width, pa.float64())),
        "model": pa.array(["m"] * size),
        "sampler": pa.array(["s"] * size),
        "scores": lists(pa.array(random.normal(size=size * width))),
        "faults": pa.array([[]] * size, pa.list_(pa.string())),
        "scorer": pa.array(["s"] * size),
    }
    return pa.table(columns, schema=pa.schema([*SAMPLED, *(pa.field(n, k) for n, k in SCORED)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for title, measure in (
        ("sampling, us a token", lambda: sampling(given.prompts)),
        ("selecting, s", lambda: selecting(given.rows)),
    ):
        found[title] = measure()
        print(title)
        for name, value in found[title].items():
            print(f"  {name:<24} {value:,.2f}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
