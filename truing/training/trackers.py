"""Who else is told a run's numbers: TensorBoard, W&B, MLflow, whatever transformers knows."""

import difflib
from typing import Any

from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)

from truing.errors import ConfigError

_NOBODY, _ALL = "none", "all"


def refuse_missing_trackers(report_to: Any) -> None:
    """Trackers that cannot be told anything are refused before a model loads.

    Args:
        report_to: `trainer.report_to`: a name, several, `none`, or `all` that are installed.

    Raises:
        ConfigError: no tracker has this name, or its package is not installed.
    """
    asked = report_to if isinstance(report_to, list | tuple) else [report_to or _NOBODY]
    names = [str(name) for name in asked if name not in {_NOBODY, _ALL}]
    installed = set(get_available_reporting_integrations()) if names else set[str]()
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            near = difflib.get_close_matches(name, INTEGRATION_TO_CALLBACK, n=1)
            hint = f"did you mean {near[0]}?" if near else "take tensorboard, wandb or mlflow"
            raise ConfigError(f"no tracker is called {name!r}", where="trainer.report_to", fix=hint)
        if name not in installed:
            raise ConfigError(
                f"the package of the tracker {name} is not installed",
                where="trainer.report_to",
                fix="pip install 'truing[trackers]' (TensorBoard, W&B, MLflow), or the one you use",
            )
