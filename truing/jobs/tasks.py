"""Public tasks of lm-evaluation-harness on a run; an extra, since few need it."""

import difflib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from truing.core.progress import Progress
from truing.errors import ConfigError
from truing.jobs.evaluated import FOLDER, TASKS
from truing.jobs.opened import OpenRun
from truing.training import folder

_BATCH = 8
_SEPARATOR = ","  # between a metric and its filter, as the harness writes them


def run_tasks(
    opened: OpenRun,
    tasks: Sequence[str],
    task_folder: str | Path | None,
    limit: int | None,
    progress: Progress,
) -> list[dict[str, Any]]:
    """A line a task and metric: `task`, `metric`, `value`, `standard_error`, `documents`.

    The lines are left in the run folder, where the report finds them.

    Raises:
        ConfigError: the harness is not installed, a task is not known, or its data cannot be had.
    """
    with _quiet_harness():
        manager = _manager(tasks, task_folder)
        harness: Any = import_module("lm_eval")
        wrapped: Any = import_module("lm_eval.models.huggingface").HFLM

        with progress.task(total=None, description="tasks"):
            try:
                with opened.in_numbers():
                    found = harness.simple_evaluate(
                        wrapped(
                            pretrained=opened.policy,
                            tokenizer=opened.reader.tokenizer,
                            batch_size=_BATCH,
                        ),
                        tasks=list(tasks),
                        limit=limit,
                        task_manager=manager,
                        log_samples=False,
                        bootstrap_iters=1000,
                    )
            except (OSError, ValueError, KeyError) as error:
                raise ConfigError(
                    f"the harness cannot run them ({str(error).splitlines()[0] or repr(error)})",
                    where=f"tasks {', '.join(tasks)}",
                    fix="check that the data of the tasks can be reached from here",
                ) from error
    assert found is not None, "one process gets the results"
    lines = list(_lines(found))
    place = opened.run / FOLDER
    place.mkdir(exist_ok=True)
    folder.write_json(place / TASKS, {"limit": limit, "tasks": lines})
    return lines


def _manager(tasks: Sequence[str], task_folder: str | Path | None) -> Any:
    try:
        tasks_module: Any = import_module("lm_eval.tasks")
    except ImportError as error:
        raise ConfigError(
            "tasks are run by lm-evaluation-harness, which is not installed",
            where="tasks",
            fix='pip install "truing[tasks]"',
        ) from error
    place = None if task_folder is None else str(task_folder)
    if place is not None and not Path(place).is_dir():
        raise ConfigError("is no folder", where=f"task_folder {place}", fix="give a folder")
    manager = tasks_module.TaskManager(include_path=place)
    known = set(manager.all_tasks)
    unknown = [task for task in tasks if task not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=3)
        raise ConfigError(
            f"the harness knows no task `{unknown[0]}`",
            where="tasks",
            fix=f"did you mean {', '.join(near)}?" if near else "lm-eval ls tasks shows them all",
        )
    return manager


def _lines(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The harness's results, flat."""
    for task, values in found["results"].items():
        counts = (found.get("n-samples") or {}).get(task, {})
        for name, value in values.items():
            metric, separator, way = name.partition(_SEPARATOR)
            if not separator or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = values.get(f"{metric}_stderr{_SEPARATOR}{way}")
            yield {
                "task": str(values.get("alias", task)).strip(" -"),
                "metric": metric if way == "none" else f"{metric} ({way})",
                "value": float(value),
                "standard_error": float(error) if isinstance(error, int | float) else None,
                "documents": counts.get("effective"),
            }


@contextmanager
def _quiet_harness() -> Iterator[None]:
    """Its progress is not ours to show."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
