"""Held-out texts scored by a policy, beside what its start says of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from truing.core import State
from truing.core.progress import Progress
from truing.engine import LOGPS_ONLY, Engine
from truing.evaluation.texts import TextTable, evaluate_texts
from truing.jobs.scoring import prompt_numbers
from truing.references.join import Rows, join


def text_numbers(
    policy: torch.nn.Module, engine: Engine, rows: Rows, progress: Progress
) -> Mapping[str, Any]:
    """`nll`, `perplexity` and what they were before training, with intervals.

    Args:
        policy: the model that is trained.
        engine: exact on it.
        rows: texts to be learned, with the start's log-probs where they are known.
        progress: shows the work.
    """
    logp, length = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
    start = np.zeros(len(rows)) if rows.references else None
    policy.eval()
    with torch.no_grad(), progress.task(total=len(rows), description="evaluation") as task:
        for indices in engine.plan(rows.examples):
            some = rows.at(indices)
            policy_logps = engine.logps(policy, some.examples, LOGPS_ONLY)
            view = join(policy_logps, some, context=None, state=State())
            logp[indices] = _sums(view.policy, view.response, len(indices))
            length[indices] = view.lengths.cpu().numpy()
            if start is not None and view.references is not None:
                start[indices] = _sums(view.references[0], view.response, len(indices))
            task.advance(len(indices))
    table = TextTable(logp, length, start, prompt_numbers(rows.examples))
    return evaluate_texts(table).to_json()


def _sums(values: torch.Tensor, response: torch.Tensor, number: int) -> np.ndarray:
    sums = torch.zeros(number, dtype=torch.float64)
    return sums.index_add_(0, response.cpu(), values.cpu().double()).numpy()
