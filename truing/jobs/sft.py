"""`truing sft`: the supervised start that preference training goes on from."""

from pathlib import Path
from typing import Any

from truing.config import as_supervised, read_config
from truing.core.progress import SILENT, Progress
from truing.jobs.train import TrainResult, train


def sft(
    recipe: str | Path | None = None,
    *,
    progress: Progress = SILENT,
    strict: bool = False,
    skip_bad: str | Path | None = None,
    **keys: Any,
) -> TrainResult:
    """Teach a model texts: prompt and completion, conversations, or the chosen responses of pairs.

    The same engine, data, trainer and report as `train`; the run folder is a model for it.

    Args:
        recipe: a YAML file with top-level keys; `keys` go over it.
        progress: shows long work.
        strict: a row without signal or over the length limit is an error.
        skip_bad: a file that takes malformed rows, which are then left out.
        keys: the keys of `train`; `objective` is `sft()` where it is not given.

    Raises:
        TruingError: see `truing.errors`.
    """
    values = {} if recipe is None else read_config(Path(recipe))
    values.update({key: value for key, value in keys.items() if value is not None})
    return train(progress=progress, strict=strict, skip_bad=skip_bad, **as_supervised(values))
