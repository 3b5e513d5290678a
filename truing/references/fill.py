"""Computing what a reference says, once, before training."""

from collections.abc import Sequence

import numpy as np
import torch

from truing.core.progress import Progress
from truing.engine import LOGPS_ONLY, Engine, TokenRow


def fill(
    model: torch.nn.Module,
    rows: Sequence[TokenRow],
    engine: Engine,
    progress: Progress,
    description: str = "reference",
) -> list[np.ndarray]:
    """Token log-probs of each row's responses under the model, one float array a row.

    A row's responses stand one after another in its array, (tokens of the row,) nats. Rows pass
    in an order of content alone (longest first), so the values do not depend on the data's order.
    """
    values: list[np.ndarray | None] = [None] * len(rows)
    passes = engine.plan(rows)
    with torch.no_grad(), progress.task(total=len(rows), description=description) as task:
        for indices in passes:
            some = [rows[i] for i in indices]
            logps = engine.logps(model, some, LOGPS_ONLY).logps.cpu().numpy()
            ends = np.cumsum([sum(map(len, row.responses)) for row in some])[:-1]
            for index, part in zip(indices, np.split(logps, ends), strict=True):
                values[index] = part
            task.advance(len(indices))
    assert all(value is not None for value in values), "the plan left a row out"
    return [value for value in values if value is not None]
