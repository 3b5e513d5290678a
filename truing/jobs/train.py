"""`truing train`: from rows to an aligned model, a report, and a folder that can be resumed."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from truing.config import RunConfig, build_config, dump_config, read_config
from truing.core.progress import SILENT, Progress
from truing.engine import ranks
from truing.engine.adapters import base_of
from truing.engine.memory import keep_freed_memory
from truing.engine.models import choose_numerics
from truing.engine.vocabulary import refuse_other_vocabulary
from truing.errors import ConfigError, ResumeError
from truing.jobs.check_cost import memory_sentence
from truing.jobs.made_with import made_with, read_made_with, refuse_changed
from truing.jobs.material import RunMaterial, gather
from truing.jobs.samples import write_samples
from truing.jobs.stations import Station, Stations
from truing.report import write_report
from truing.training import folder
from truing.training.callbacks import ShowProgress, StopOnSignal, StopWithoutGain
from truing.training.checkpoints import refuse_partial, writing, written_by_all
from truing.training.trackers import told_by_itself


@dataclass(frozen=True)
class TrainResult:
    """A run that ended.

    Args:
        output: the run folder.
        steps: optimizer steps done in all.
        finished: False where it was stopped before its last step; the state is saved.
        evaluation: numbers on the held-out rows at the end; empty without them.
        notes: sentences on what was decided for the user.
        rounds: a line for each round; empty for a run without `rounds`.
    """

    output: Path
    steps: int
    finished: bool
    evaluation: Mapping[str, Any]
    notes: tuple[str, ...]
    rounds: tuple[Mapping[str, Any], ...] = ()


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
    options = {"strict": strict, "skip_bad": None if skip_bad is None else str(skip_bad)}
    with ranks.together(_patience(config)), _alone_in(Path(config.output)):
        _refuse_used(Path(config.output))
        return _begin(config, options, progress if ranks.is_first() else SILENT)


@contextmanager
def _alone_in(run: Path) -> Iterator[None]:
    """The processes of one run share its folder with nobody else's."""
    with ExitStack() as held:
        ranks.only_first(lambda: held.enter_context(folder.alone_in(run)))
        yield


def _patience(config: RunConfig) -> float:
    """Seconds after which a process that says nothing is given up."""
    return float(config.trainer.get("ddp_timeout", TrainingArguments.ddp_timeout))


def _refuse_used(output: Path) -> None:
    """No run is written over another, nor by two processes that were started alone."""
    go_on = f"take another folder, or go on with it: truing train --resume {output}"
    folder.refuse_used(output, go_on)
    # All have looked before the first one writes.
    ranks.wait()


def _begin(config: RunConfig, options: Mapping[str, Any], progress: Progress) -> TrainResult:
    output = Path(config.output)
    if config.rounds is not None and ranks.world() > 1:
        raise ConfigError(
            "rounds run in one process", where="rounds", fix="start truing train without torchrun"
        )
    if config.rounds is not None:
        from truing.jobs.rounds import check_rounds

        check_rounds(config.rounds)
        output.mkdir(parents=True, exist_ok=True)
        text = dump_config(config, made_with(config, options))
        folder.write_atomically(output / folder.CONFIG, text)
        return _rounds(config, options, progress)
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
    with ranks.together(_patience(config)), _alone_in(run):
        refuse_changed(before, config, run)
        progress = progress if ranks.is_first() else SILENT
        if config.rounds is not None:
            folder.sweep(run)
            return _rounds(config, before["options"], progress)
        ranks.only_first(lambda: _tidied(run))
        checkpoint = next(iter(folder.checkpoints(run)[::-1]), None)
        if checkpoint is not None:
            refuse_partial(checkpoint)
        return _run(config, before["options"], progress, checkpoint)


def _tidied(run: Path) -> None:
    """Nothing half written, and no line of a step after the last checkpoint."""
    folder.sweep(run)
    checkpoint = next(iter(folder.checkpoints(run)[::-1]), None)
    step = 0 if checkpoint is None else folder.step_of(checkpoint)
    for name in (folder.METRICS, folder.ALARMS):
        folder.cut_back(run / name, step)


def _rounds(config: RunConfig, options: Mapping[str, Any], progress: Progress) -> TrainResult:
    """Round after round, each a run of its own below the folder of the whole."""
    from truing.jobs.rounds import RoundsRun

    def once(of_round: RunConfig, of_options: Mapping[str, Any]) -> TrainResult:
        run = Path(of_round.output)
        finished = run / folder.FINISHED
        if finished.exists():
            steps = int(json.loads(finished.read_text(encoding="utf-8"))["steps"])
            return TrainResult(run, steps, finished=True, evaluation={}, notes=())
        if (run / folder.CONFIG).is_file():
            return resume(run, progress=progress)
        return _run(of_round, of_options, progress, checkpoint=None)

    assert config.rounds is not None, "asked before"
    return RoundsRun(config, config.rounds, progress, once).go(options)


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
    material = ranks.first_then_others(lambda: _material(config, options, progress))
    if config.tokenizer is not None:
        refuse_other_vocabulary(material.reader.tokenizer, base_of(config.model))
    for note in material.summary.notes:
        progress.note(note)
    progress.note(memory_sentence(config, material))
    at = Station(config, material, choose_numerics(config.dtype), progress)
    stations = Stations.opened(at)
    progress.note(stations.notes[-1])
    with writing(output):
        ranks.only_first(lambda: _write_settings(at, options, is_fresh=checkpoint is None))
    rows, held = stations.rows()
    before = stations.sampled("responses before")
    trainer = stations.trainer(rows, held, is_fresh=checkpoint is None)
    if checkpoint is not None:
        trainer.load_objective_state(checkpoint)
    elif options.get("moments"):
        trainer.begin_with_moments(Path(options["moments"]))
    with (
        StopOnSignal() as stop,
        progress.task(total=trainer.num_steps, description="training") as task,
        told_by_itself(),
    ):
        trainer.add_callback(ShowProgress(task))
        trainer.add_callback(stop)
        if config.evaluation.patience is not None:
            trainer.add_callback(StopWithoutGain(config.evaluation.patience))
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    steps = trainer.state.global_step
    if stop.stopped and steps < trainer.num_steps:
        return TrainResult(output, steps, finished=False, evaluation={}, notes=stations.notes)
    kept = _kept(config, trainer)
    if "note" in kept:
        stations.notes = (*stations.notes, kept.pop("note"))
        progress.note(stations.notes[-1])
    _save(trainer, output, options)
    after = stations.sampled("responses after")
    evaluation = stations.evaluation(trainer.model, held)

    def write() -> None:
        write_samples(output, material.reader.tokenizer, stations.sample_rows, before, after)
        if evaluation:
            folder.write_json(output / folder.EVALUATION, evaluation)
        write_report(output)
        # The last word: a run that was killed before it goes on, and writes all of this again.
        folder.write_json(output / folder.FINISHED, {"steps": steps, **kept})

    with writing(output):
        ranks.only_first(write)
    return TrainResult(output, steps, finished=True, evaluation=evaluation, notes=stations.notes)


def _save(trainer: Any, output: Path, options: Mapping[str, Any]) -> None:
    with written_by_all(output):
        trainer.save_model(str(output))
        if options.get("keeps_moments"):
            trainer.save_moments()


def _kept(config: RunConfig, trainer: Any) -> dict[str, Any]:
    """Which step the weights are of, where the best one is kept."""
    state, best = trainer.state, config.evaluation.best
    if best is None or state.best_global_step is None:
        return {}
    ended = "" if state.global_step >= trainer.num_steps else ", where it stopped for want of gain"
    note = (
        f"kept the weights of step {state.best_global_step} of {state.global_step}{ended}: "
        f"{best} {state.best_metric:.4f} on held-out rows (chosen on them, so a little too good)"
    )
    return {"kept_step": state.best_global_step, "best": {best: state.best_metric}, "note": note}


def _material(config: RunConfig, options: Mapping[str, Any], progress: Progress) -> RunMaterial:
    """The rows; malformed ones are written down once."""
    skip_bad = options["skip_bad"]
    if skip_bad is not None and not ranks.is_first():
        skip_bad = os.devnull
    return gather(config, progress, strict=options["strict"], skip_bad=skip_bad)


def _write_settings(at: Station, options: Mapping[str, Any], *, is_fresh: bool) -> None:
    output = Path(at.config.output)
    output.mkdir(parents=True, exist_ok=True)
    if is_fresh:
        text = dump_config(at.config, made_with(at.config, options))
        folder.write_atomically(output / folder.CONFIG, text)
    folder.write_json(output / folder.DATA, at.material.summary_json())
