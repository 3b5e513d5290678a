"""Responses to held-out prompts before and after training, to be read side by side."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from truing.core.progress import Progress
from truing.data import Example
from truing.responses import Response, Sampling, sample
from truing.training import folder

LONGEST = 256  # new tokens of a sample


def asked(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Example],
    *,
    room: int,
    seed: int,
    progress: Progress,
    description: str,
) -> list[Response]:
    """One response to the prompt of each row; the same seed asks in the same way.

    Args:
        model: the policy.
        tokenizer: its tokenizer.
        rows: whose prompts are asked.
        room: tokens that the model can read, prompt and response together.
        seed: of what is drawn.
        progress: shows the work.
        description: what it is called.
    """
    if not rows:
        return []
    prompts = [row.prompt.tolist() for row in rows]
    longest = max(1, min(LONGEST, room - max(map(len, prompts))))
    model.eval()
    groups = sample(
        model,
        tokenizer,
        prompts,
        sampling=Sampling(max_new_tokens=longest),
        seed=seed,
        progress=progress,
        description=description,
    )
    return [group[0] for group in groups]


def write_samples(
    run: Path,
    tokenizer: Any,
    rows: Sequence[Example],
    before: Sequence[Response],
    after: Sequence[Response],
) -> None:
    """samples.jsonl of a run folder: prompt, response before and after, and their tokens."""
    lines = [
        {
            "prompt": tokenizer.decode(row.prompt.tolist(), skip_special_tokens=True),
            "before": one.text,
            "after": other.text,
            "tokens_before": len(one.tokens),
            "tokens_after": len(other.tokens),
        }
        for row, one, other in zip(rows, before, after, strict=True)
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    if lines:
        folder.write_atomically(run / folder.SAMPLES, text)
