"""`truing evaluate`: a finished run on held-out rows, on prompts, and on public tasks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from truing.core.progress import SILENT, Progress
from truing.errors import ConfigError
from truing.jobs.asked import generated_numbers
from truing.jobs.asking import Asking
from truing.jobs.evaluated import update_numbers, write_pairs
from truing.jobs.held_out import held_out_numbers
from truing.jobs.opened import OpenRun, config_of
from truing.jobs.tasks import run_tasks
from truing.report import write_report

__all__ = ["config_of", "evaluate"]


def evaluate(
    run: str | Path,
    data: str | None = None,
    *,
    rows: int | None = None,
    asking: Asking | None = None,
    baseline: str | None = None,
    tasks: Sequence[str] = (),
    task_folder: str | Path | None = None,
    limit: int | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Measure a finished run; what was found lies in its folder too, below `evaluated/`.

    Args:
        run: the folder of a finished run.
        data: held-out rows; None: those of the run's own `evaluation.data`.
        rows: only the first so many.
        asking: prompts to respond to, and how the responses are scored; None: none.
        baseline: whom the responses are set against: a folder with a model or a run, or a file
            with `prompt` and `response`; None: the start of the run.
        tasks: of lm-evaluation-harness, by name.
        task_folder: where further tasks are defined.
        limit: the first so many documents of each task.
        progress: shows long work.

    Returns:
        Plain numbers: `reward_accuracy`, `policy_accuracy`, `margin`, `pairs` ... of the rows,
        with `NAME_low` and `NAME_high` beside them (95 % bootstrap intervals); under
        `generations` those of the responses, under `tasks` a list.

    Raises:
        TruingError: no finished run, nothing to score, an option without effect.
    """
    run = Path(run)
    _refuse_idle(asking, baseline, tasks, task_folder, limit)
    opened = OpenRun(run)
    source = data or opened.config.evaluation.data
    if source is None and asking is None and not tasks:
        raise ConfigError(
            "there are no held-out rows to score", where=str(run), fix="give --data HELD-OUT.jsonl"
        )
    reads_rows = source is not None and (data is not None or (asking is None and not tasks))
    if rows is not None and not reads_rows:
        raise ConfigError("`rows` has no effect without rows", where=str(run), fix="give --data")
    found: dict[str, Any] = {"run": str(run)}
    if source is not None and reads_rows:
        numbers, pairs = held_out_numbers(opened, source, rows, progress)
        if pairs is not None:
            write_pairs(run, pairs)
        update_numbers(run, numbers)
        found |= numbers
    if asking is not None:
        found["generations"] = generated_numbers(opened, asking, baseline, progress)
        update_numbers(run, {"generations": found["generations"]})
    if tasks:
        found["tasks"] = run_tasks(opened, tasks, task_folder, limit, progress)
    write_report(run)
    return found


def _refuse_idle(
    asking: Asking | None,
    baseline: str | None,
    tasks: Sequence[str],
    task_folder: str | Path | None,
    limit: int | None,
) -> None:
    """Options that would do nothing."""
    idle = {
        "`baseline` is of responses, and no prompts are given": asking is None and baseline,
        "`task_folder` has no effect without tasks": not tasks and task_folder,
        "`limit` is of tasks, and none is given": not tasks and limit,
    }
    for what, is_true in idle.items():
        if is_true:
            raise ConfigError(
                what, where="evaluate", fix="leave it out, or give what it belongs to"
            )
