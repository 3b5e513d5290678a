"""Who else is told a run's numbers: TensorBoard, W&B, MLflow, whatever transformers knows."""

import difflib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments
from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)

from truing.errors import ConfigError

_NOBODY, _ALL = "none", "all"
# Before a key of the run, among the settings that a tracker keeps.
OWN = "truing/"


@dataclass
class ToldArguments(TrainingArguments):
    """Arguments of the Trainer, whose dictionary holds the run's own keys too.

    Every tracker keeps this dictionary as the settings of the run; what the Trainer's arguments
    alone say knows neither objective nor data.

    Args:
        own: the run's keys; blocks are told as `truing/BLOCK/KEY`, what is not set is left out.
    """

    own: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """By name; tokens are masked."""
        values = super().to_dict()
        del values["own"]
        return {**values, **dict(_flat(self.own, OWN))}


def _flat(block: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in block.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}/")
        elif value is not None:
            yield f"{prefix}{key}", value


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


@contextmanager
def told_by_itself() -> Iterator[None]:
    """What a training told W&B ends with it: the next one in this process is another run there.

    A run that the caller has begun goes on. The other trackers end with a training by themselves.
    """
    is_given, has_failed = _wandb_run() is not None, True
    try:
        yield
        has_failed = False
    finally:
        if not is_given and _wandb_run() is not None:
            sys.modules["wandb"].finish(exit_code=int(has_failed))


def _wandb_run() -> Any:
    return getattr(sys.modules.get("wandb"), "run", None)
