"""How far the policy has gone from its reference, over what the policy itself says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from truing.core.progress import SILENT
from truing.engine import Engine, TokenRow
from truing.engine.logps import LiveReference
from truing.evaluation.generations import Generations, LogRatios, evaluate_generations
from truing.references.fill import fill
from truing.responses import Response


@dataclass(frozen=True)
class _Said:
    """A prompt and what the policy said to it."""

    prompt: np.ndarray
    responses: tuple[np.ndarray, ...]


def kl_numbers(
    policy: Any,
    reference: LiveReference,
    engine: Engine,
    rows: Sequence[TokenRow],
    responses: Sequence[Response],
) -> Mapping[str, Any]:
    """`kl`, `kl_per_token` and their intervals, nats (see `evaluate_generations`).

    Args:
        policy: drew the responses at temperature 1.
        reference: opens a block that yields the reference model.
        engine: exact on both.
        rows: whose prompts were answered.
        responses: one a row.
    """
    said = [
        _Said(row.prompt, (np.array(response.tokens, dtype=np.int32),))
        for row, response in zip(rows, responses, strict=True)
    ]
    ours = np.concatenate(fill(policy, said, engine, SILENT))
    with reference() as model, torch.no_grad():
        theirs = np.concatenate(fill(model, said, engine, SILENT))
    lengths = np.array([len(response.tokens) for response in responses])
    table = Generations(length=lengths, cut=np.array([not one.finished for one in responses]))
    ratios = LogRatios(ours - theirs, np.repeat(np.arange(len(lengths)), lengths))
    numbers = evaluate_generations(table, log_ratios=ratios).to_json()
    return {key: value for key, value in numbers.items() if key.startswith("kl")}
