"""The embedded world shown, its pairs written, and its pool of responses drawn anew."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from truing.core.progress import SILENT, Progress
from truing.engine.models import load_model, load_tokenizer
from truing.jobs.demo import one_thread
from truing.report.world_page import world_page
from truing.responses import Sampling, sample
from truing.training import folder
from truing.world import KINDS, MAX_NEW_TOKENS, MODELS, assess, manifest, model_folder
from truing.world.pairs import describe_pairs, pairs
from truing.world.pool import PROMPTS, RESPONSES, SEED, Group, asked, groups, pool_file, write_pool
from truing.world.prompts import Kind, Split

SPLITS: tuple[Split, ...] = ("train", "tuning", "test")
DIAL = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
_BINS = 24


@one_thread()
def sample_pool(output: Path, *, progress: Progress = SILENT) -> tuple[Path, ...]:
    """Sample the start's responses to every prompt of the pool; files that are there stay.

    Some ten minutes on one core.
    """
    source = str(model_folder())
    model, tokenizer = load_model(source, torch.float32), load_tokenizer(source)
    paths = []
    for split in SPLITS:
        for kind in KINDS:
            path = pool_file(split, kind, output)
            if not path.exists():
                write_pool(path, _say(model, tokenizer, split, kind, progress))
            paths.append(path)
    return tuple(paths)


def _say(
    model: Any, tokenizer: Any, split: Split, kind: Kind, progress: Progress
) -> list[list[tuple[str, bool]]]:
    responses = sample(
        model,
        tokenizer,
        tokenizer([prompt.text for prompt in asked(split, kind)])["input_ids"],
        sampling=Sampling(num_responses=RESPONSES[split], max_new_tokens=MAX_NEW_TOKENS),
        seed=SEED,
        progress=progress,
        description=f"{split}, {kind}",
    )
    return [[(one.text, one.finished) for one in group] for group in responses]


def describe_world(samples: int = 3) -> dict[str, Any]:
    """Models, labels and responses as plain values.

    Args:
        samples: prompts of each kind, shown with what the start said.
    """
    return {
        "models": [_model(name) for name in MODELS],
        "pool": {split: 3 * PROMPTS[split] * RESPONSES[split] for split in SPLITS},
        "dial": [
            {"length_bias": bias, **asdict(describe_pairs(pairs("train", length_bias=bias)))}
            for bias in DIAL
        ],
        "scores": {kind: _spread(_scores(kind)) for kind in KINDS},
        "lengths": {kind: _spread(_words(kind)) for kind in KINDS},
        "gaps": {
            kind: _spread([abs(pair.gap) for pair in pairs("train", kinds=(kind,))])
            for kind in KINDS
        },
        "samples": [_sample(group) for group in groups("test", count=3 * samples)],
    }


def write_world_page(path: Path, values: dict[str, Any]) -> Path:
    """The page of `describe_world`'s values; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder.write_atomically(path, world_page(values))
    return path


def _model(name: Any) -> dict[str, Any]:
    told = manifest(name)
    return {
        "name": name,
        "what": told["what"],
        "parameters": told["parameters"],
        "vocabulary": told["vocabulary"],
        "speech": {
            kind: {key: value for key, value in said.items() if key != "samples"}
            for kind, said in told["speech"].items()
        },
    }


def _scores(kind: Kind) -> list[float]:
    return [one.score for group in groups("train", (kind,)) for one in group.candidates]


def _words(kind: Kind) -> list[int]:
    return [one.words for group in groups("train", (kind,)) for one in group.candidates]


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """A histogram (middles of the bins, shares), mean, 5th and 95th percentile."""
    numbers = np.array(values, dtype=float)
    counts, edges = np.histogram(numbers, bins=_BINS)
    low, high = np.percentile(numbers, (5, 95))
    return {
        "at": ((edges[1:] + edges[:-1]) / 2).round(3).tolist(),
        "shares": (counts / len(numbers)).round(5).tolist(),
        "mean": float(numbers.mean()),
        "low": float(low),
        "high": float(high),
    }


def _sample(group: Group) -> dict[str, Any]:
    return {
        "kind": group.prompt.kind,
        "prompt": group.prompt.text,
        "responses": [
            {
                "score": round(one.score, 2),
                "words": one.words,
                "finished": one.finished,
                "sentences": [
                    {"text": verdict.sentence, "kind": verdict.kind, "value": verdict.value}
                    for verdict in assess(group.prompt, one.text, finished=one.finished).verdicts
                ],
            }
            for one in group.candidates
        ],
    }
