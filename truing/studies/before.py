"""What an implicit reward is worth before any label was learned, on the embedded world.

The policy is the `stronger` model, the reference the `start`: related models, of which neither has
seen a label of the study. P pairs of the test prompts, labelled by the truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from truing.core.progress import SILENT
from truing.engine import PaddedEngine
from truing.engine.models import load_model, load_tokenizer
from truing.jobs.demo import one_thread
from truing.references.fill import fill
from truing.studies.ground import facts
from truing.studies.plots import Drawn, Series
from truing.studies.study import Plan
from truing.world import KINDS, ModelName, model_folder, pairs
from truing.world.pairs import Pair
from truing.world.prompts import Kind

_TOKENS = 16_384
_MODELS: tuple[ModelName, ...] = ("stronger", "start")
_BUCKETS = 9
_DIAL = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class _TokenRow:
    prompt: np.ndarray
    responses: tuple[np.ndarray, ...]


def gaps_before_training(plan: Plan) -> tuple[Drawn, ...]:
    """Implicit reward and sequence KL against the difference of lengths, before training."""
    found = pairs("test", kinds=plan.kinds, temperature=0.0, count=min(plan.held, 300))
    lengths, sums = _log_ratios(found)
    shorter = lengths.min(axis=1, keepdims=True)
    rewards = {
        "DPO": sums,
        "SamPO (mean of its draws)": sums * shorter / lengths,
        "averaged DPO, times mean length": sums / lengths * lengths.mean(),
    }
    apart = lengths[:, 0] - lengths[:, 1]
    gaps = tuple(_bucketed(n, apart, r[:, 0] - r[:, 1]) for n, r in rewards.items())
    kls = tuple(
        _bucketed(side, apart, sums[:, place]) for place, side in enumerate(("chosen", "rejected"))
    )
    caption = (
        "Before training: log-ratios of the embedded `stronger` model to the start, which have "
        f"seen no label, on {len(found)} pairs labelled by the truth. "
    )
    return (
        Drawn(
            "before-reward",
            "Is the implicit reward paid by length before training?",
            caption + "Chosen less rejected, times beta 1. A line that rises or falls with the "
            "difference of lengths is a bias; the drawn and averaged forms have less of it.",
            "chosen tokens less rejected tokens",
            "implicit reward, chosen less rejected (nats)",
            gaps,
            level=0.0,
        ),
        Drawn(
            "before-kl",
            "How do sequence log-ratios go with the difference of lengths?",
            caption + "The sum over tokens of log(policy / reference) of each side, whose mean is "
            "the sequence KL on the policy's own responses.",
            "chosen tokens less rejected tokens",
            "log-ratio of the response (nats)",
            kls,
            level=0.0,
        ),
    )


def _log_ratios(found: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """Lengths in tokens, (P, 2), end token included, and sums of log-ratios, (P, 2), nats."""
    tokenizer: Any = load_tokenizer(str(model_folder()))

    def ids(text: str, end: Sequence[int] = ()) -> np.ndarray:
        return np.array([*tokenizer(text)["input_ids"], *end])

    ends = [tokenizer.eos_token_id]
    rows = [
        _TokenRow(
            ids(pair.prompt.text), (ids(pair.chosen.text, ends), ids(pair.rejected.text, ends))
        )
        for pair in found
    ]
    engine = PaddedEngine(_TOKENS)
    with one_thread():
        policy, reference = (
            fill(load_model(str(model_folder(name)), torch.float32), rows, engine, SILENT)
            for name in _MODELS
        )
    lengths = np.array([[len(one) for one in row.responses] for row in rows], dtype=float)
    sums = [
        [part.sum() for part in np.split(one - other, [len(row.responses[0])])]
        for row, one, other in zip(rows, policy, reference, strict=True)
    ]
    return lengths, np.array(sums)


def _bucketed(label: str, x: np.ndarray, y: np.ndarray) -> Series:
    """Means of y in buckets of equal counts of x, with normal 95 % bounds over pairs."""
    order = np.argsort(x, kind="stable")
    parts = np.array_split(order, min(_BUCKETS, len(x)))
    reach = [1.96 * y[p].std(ddof=1) / np.sqrt(len(p)) if len(p) > 1 else 0.0 for p in parts]
    means = [float(y[part].mean()) for part in parts]
    return Series(
        label,
        [float(x[part].mean()) for part in parts],
        means,
        [mean - float(r) for mean, r in zip(means, reach, strict=True)],
        [mean + float(r) for mean, r in zip(means, reach, strict=True)],
    )


def push_on_the_end_token(plan: Plan) -> tuple[Drawn, ...]:
    """By calculation: what a draw leaves of the push on the end token, and on which lengths."""
    tokenizer = load_tokenizer(str(model_folder()))
    by_dial, by_length = [], []
    for kind in KINDS:
        pushes = []
        for dial in _DIAL:
            rows = [pair.to_row() for pair in _some(kind, dial, plan)]
            pushes.append(facts(rows, tokenizer)["data_end_push"])
        by_dial.append(Series(kind, list(_DIAL), pushes))
        chosen, rejected = (
            np.array([len(tokenizer(text)["input_ids"]) + 1.0 for text in texts])
            for texts in zip(
                *((p.chosen.text, p.rejected.text) for p in _some(kind, 0.5, plan)), strict=True
            )
        )
        shorter = np.minimum(chosen, rejected)
        share = np.abs(shorter / chosen - shorter / rejected) / shorter
        by_length.append(_bucketed(kind, shorter, share))
    return (
        Drawn(
            "end-push-dial", "When does SamPO say “go on”?",
            "By calculation, without training: the chosen response's end token is drawn with "
            "chance m/|chosen| and raised, the rejected one's with m/|rejected| and lowered. What "
            "is left over is the net push on the end token; DPO's is 0. It falls below 0 where "
            "the chosen response is the longer one more often, whatever the lengths.",
            "dial of length bias", "net push on the end token, a pair", tuple(by_dial), level=0.0,
        ),
        Drawn(
            "end-push-length", "On which lengths does that matter?",
            "The same push as a share of the drawn tokens of a side, at dial 0.5. It is one token "
            "among all that are drawn: some percent of short responses, next to nothing of those "
            "of hundreds of tokens, which the paper trains on.",
            "tokens of the shorter response", "push on the end token / drawn tokens",
            tuple(by_length), is_log=True, level=0.0,
        ),
    )  # fmt: skip


def _some(kind: Kind, dial: float, plan: Plan) -> tuple[Pair, ...]:
    return pairs("train", kinds=(kind,), length_bias=dial, count=max(plan.held, 20))
