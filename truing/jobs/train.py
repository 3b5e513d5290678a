"""`truing train`: from rows to an aligned model, a report, and a folder that can be resumed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from truing.config import RunConfig, build_config, dump_config, read_config
from truing.core.progress import SILENT, Progress
from truing.engine.memory import keep_freed_memory
from truing.engine.models import choose_numerics
from truing.errors import ConfigError, ResumeError
from truing.jobs.made_with import made_with, read_made_with, refuse_changed_data
from truing.jobs.material import gather
from truing.jobs.samples import write_samples
from truing.jobs.stations import Station, Stations
from truing.report import write_report
from truing.training import folder
from truing.training.callbacks import ShowProgress, StopOnSignal


@dataclass(frozen=True)
class TrainResult:
    """A run that ended.

    Args:
        output: the run folder.
        steps: optimizer steps done in all.
        finished: False where it was stopped before its last step; the state is saved.
        evaluation: numbers on the held-out rows at the end; empty without them.
        notes: sentences on what was decided for the user.
    """

    output: Path
    steps: int
    finished: bool
    evaluation: Mapping[str, Any]
    notes: tuple[str, ...]


def train(
    recipe: str | Path | None = None,
    *,
    progress: Progress = SILENT,
    strict: bool = False,
    skip_bad: str | Path | None = None,
    **keys: Any,
) -> TrainResult:
    """Train a policy on preferences.

    Args:
        recipe: a YAML file with top-level keys; `keys` go over it.
        progress: shows long work.
        strict: a row without signal or over the length limit is an error.
        skip_bad: a file that takes malformed rows, which are then left out.
        keys: the top-level keys of a configuration: model, data, objective, output ...; an
            objective may be given as a value.

    Raises:
        TruingError: see `truing.errors`.
    """
    values = {} if recipe is None else read_config(Path(recipe))
    values.update({key: _plain(value) for key, value in keys.items() if value is not None})
    config = build_config(values)
    output = Path(config.output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(
            "there is something in the output folder already",
            where=str(output),
            fix=f"take another folder, or go on with it: truing train --resume {output}",
        )
    options = {"strict": strict, "skip_bad": None if skip_bad is None else str(skip_bad)}
    return _run(config, options, progress, checkpoint=None)


def resume(run: str | Path, *, progress: Progress = SILENT) -> TrainResult:
    """Go on with a run that was stopped or killed, to the same weights.

    Raises:
        ResumeError: the folder holds no run, a finished one, or its data has changed.
    """
    run = Path(run)
    if not (run / folder.CONFIG).is_file():
        raise ResumeError(
            "holds no run.yaml", where=str(run), fix="give the output folder of `truing train`"
        )
    if (run / folder.FINISHED).exists():
        raise ResumeError(
            "this run is finished", where=str(run), fix=f"look at {run / 'report.html'}"
        )
    config = build_config(read_config(run / folder.CONFIG), where=str(run / folder.CONFIG))
    config = config.model_copy(update={"output": str(run)})
    before = read_made_with(run / folder.CONFIG)
    refuse_changed_data(before, run)
    folder.sweep(run)
    checkpoint = next(iter(folder.checkpoints(run)[::-1]), None)
    step = 0 if checkpoint is None else folder.step_of(checkpoint)
    for name in (folder.METRICS, folder.ALARMS):
        folder.cut_back(run / name, step)
    return _run(config, before["options"], progress, checkpoint)


def _plain(value: Any) -> Any:
    """Objectives and paths are written into the configuration as text."""
    if isinstance(value, (str, int, float, list, dict, bool)):
        return value
    return str(value) if isinstance(value, Path) else repr(value)


def _run(
    config: RunConfig, options: Mapping[str, Any], progress: Progress, checkpoint: Path | None
) -> TrainResult:
    """All stations in order; nothing is written before the data stands."""
    keep_freed_memory()
    output = Path(config.output)
    material = gather(config, progress, strict=options["strict"], skip_bad=options["skip_bad"])
    for note in material.summary.notes:
        progress.note(note)
    at = Station(config, material, choose_numerics(config.dtype), progress)
    stations = Stations.opened(at)
    progress.note(stations.notes[-1])
    output.mkdir(parents=True, exist_ok=True)
    if checkpoint is None:
        text = dump_config(config, made_with(config.data_paths, options))
        folder.write_atomically(output / folder.CONFIG, text)
    folder.write_json(output / folder.DATA, material.summary_json())
    rows, held = stations.rows()
    before = stations.sampled("responses before")
    trainer = stations.trainer(rows, held, is_fresh=checkpoint is None)
    if checkpoint is not None:
        trainer.load_objective_state(checkpoint)
    with (
        StopOnSignal() as stop,
        progress.task(total=trainer.num_steps, description="training") as task,
    ):
        trainer.add_callback(ShowProgress(task))
        trainer.add_callback(stop)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    steps = trainer.state.global_step
    if stop.stopped and steps < trainer.num_steps:
        return TrainResult(output, steps, finished=False, evaluation={}, notes=stations.notes)
    trainer.save_model(str(output))
    after = stations.sampled("responses after")
    write_samples(output, material.reader.tokenizer, stations.sample_rows, before, after)
    evaluation = stations.evaluation(trainer.model, held)
    if evaluation:
        folder.write_json(output / folder.EVALUATION, evaluation)
    folder.write_json(output / folder.FINISHED, {"steps": steps})
    write_report(output)
    return TrainResult(output, steps, finished=True, evaluation=evaluation, notes=stations.notes)
