"""A study run: every cell once, two at a time, taken up again after a kill, its page at the end.

Cells lie in the folder over all studies by their content: a setting that two studies share is
trained once, and a changed declaration trains only what it changed.
"""

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from truing.core.progress import SILENT, Progress
from truing.engine.models import load_tokenizer
from truing.errors import ConfigError
from truing.studies.cell import FILES, VERSION, CellJob, ask_start, run_cell
from truing.studies.ground import Ground, facts, stored
from truing.studies.results import StudyResult, collected
from truing.studies.study import Plan, ScaleName, Setting, Study
from truing.training import folder


@dataclass(frozen=True)
class Request:
    """What is to be run.

    Args:
        study: which.
        scale: of its plans.
        output: the folder over all studies.
        ground: model and data.
        seeds: instead of the plan's; None: the plan's.
        methods: only these; all, if none is named.
        arms: only these; all, if none is named.
        changes: fields of the plan with other values, as texts: {"pairs": "200"}.
        jobs: cells at a time; None: two on two cores or more, one beside a GPU.
    """

    study: Study
    scale: ScaleName
    output: Path
    ground: Ground = field(default_factory=Ground)
    seeds: tuple[int, ...] | None = None
    jobs: int | None = None
    methods: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    changes: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def plan(self) -> Plan:
        """How much of everything.

        Raises:
            ConfigError: a method, an arm or a field that the plan has not, or no setting is left.
        """
        whole = self.study.plans[self.scale]
        settings = tuple(
            one
            for one in whole.settings
            if (not self.methods or one.method in self.methods)
            and (not self.arms or one.arm in self.arms)
        )
        known = {one.method for one in whole.settings}, {one.arm for one in whole.settings}
        for given, names in zip((self.methods, self.arms), known, strict=True):
            unknown = [name for name in given if name not in names]
            if unknown or not settings:
                raise ConfigError(
                    f"the plan has no setting {unknown or given}",
                    where=f"study {self.study.name}",
                    fix=f"it has {', '.join(sorted(names))}",
                )
        seeds = self.seeds or whole.seeds
        return replace(whole, settings=settings, seeds=seeds, **_changed(whole, self.changes))

    @property
    def is_part(self) -> bool:
        """Whether less, or other, than the declared plan is run."""
        return bool(self.seeds or self.methods or self.arms or self.changes)

    @property
    def at_once(self) -> int:
        """Cells at a time."""
        cores = 1 if torch.cuda.is_available() else min(2, os.cpu_count() or 1)
        return self.jobs or cores


def _changed(plan: Plan, changes: Mapping[str, str]) -> dict[str, int | float]:
    found: dict[str, int | float] = {}
    for name, text in changes.items():
        before = getattr(plan, name, None)
        if not isinstance(before, int | float):
            known = sorted(
                key for key, value in vars(plan).items() if isinstance(value, int | float)
            )
            raise ConfigError(
                f"a plan has no number {name!r}",
                where="study --set",
                fix=f"one of {', '.join(known)}",
            )
        try:
            found[name] = type(before)(text)
        except ValueError as error:
            raise ConfigError(
                f"{text!r} is no number", where=f"study --set {name}", fix=f"such as {before}"
            ) from error
    return found


@dataclass(frozen=True)
class Planned:
    """A cell with the setting that it is of."""

    setting: Setting
    seed: int
    job: CellJob


def run_study(request: Request, *, progress: Progress = SILENT) -> StudyResult:
    """Train and measure what is not there yet, judge the claims, and write page and numbers.

    Args:
        request: what is to be run.
        progress: shows the work and the time that remains.

    Raises:
        TruingError: a setting that cannot be trained, or a folder in which another process works.
        KeyboardInterrupt: interrupted; the same call goes on.
    """
    output = request.output
    output.mkdir(parents=True, exist_ok=True)
    with folder.alone_in(output):
        began = time.monotonic()
        planned, left_out = plan_cells(request)
        waiting = list({c.job.key: c.job for c in planned if not c.job.file.exists()}.values())
        for note in left_out:
            progress.note(note)
        done = len({cell.job.key for cell in planned}) - len(waiting)
        if done:
            progress.note(f"{done} cells are there already, {len(waiting)} are to be made")
        _make(waiting, request.at_once, progress)
        return collected(
            request, planned, left_out,
            seconds=time.monotonic() - began, date=datetime.now(UTC).strftime("%Y-%m-%d"),
        )  # fmt: skip


def plan_cells(request: Request) -> tuple[list[Planned], list[str]]:
    """Every cell of the plan, with files written; and sentences on settings that cannot be had."""
    ground, plan, place = request.ground, request.plan, request.output
    files = place / FILES
    fixed = {
        "held": stored(ground.held(plan), files),
        "tuning": stored(ground.prompts("tuning", plan, plan.tuning_prompts), files),
        "test": stored(ground.prompts("test", plan, plan.test_prompts), files),
    }
    if ground.scored_by is None:
        fixed["tuning_pairs"] = stored(ground.tuning_pairs(plan), files)
    shelf = _RowFiles(ground, plan, files)
    planned, left_out = [], []
    for setting in plan.settings:
        why = ground.missing(setting)
        if why:
            left_out.append(f"left out: {setting.method} {setting.arm}".strip() + f" ({why})")
            continue
        for seed in plan.seeds:
            named, data = shelf.of(setting, seed)
            planned.append(
                Planned(setting, seed, _job(request, setting, seed, fixed | named, data))
            )
    if not planned:
        raise ConfigError(
            f"no setting of this study can be had here; {left_out[0] if left_out else ''}",
            where=f"study {request.study.name}",
            fix="run it on the embedded world, or give what is missing",
        )
    return planned, list(dict.fromkeys(left_out))


Named = dict[str, tuple[Path, str]]
"""Files with their names by content."""


class _RowFiles:
    """Writes what settings learn from; what many settings share is made once."""

    def __init__(self, ground: Ground, plan: Plan, place: Path) -> None:
        self._ground, self._plan, self._place = ground, plan, place
        self._tokenizer = load_tokenizer(ground.start)
        self._seen: dict[tuple[Any, int], tuple[Named, dict[str, float]]] = {}

    def of(self, setting: Setting, seed: int) -> tuple[Named, dict[str, float]]:
        """The files of a setting with a seed, and what can be said of its rows."""
        if (setting.rows, seed) not in self._seen:
            records = self._ground.rows(setting, self._plan, seed)
            named = {"rows": stored(records, self._place)}
            if not setting.rows.is_kwise:
                named["texts"] = stored(self._ground.texts(records), self._place)
            self._seen[setting.rows, seed] = named, facts(records, self._tokenizer)
        named, data = self._seen[setting.rows, seed]
        read = {"rows": named["rows"]}
        if "{texts}" in str(setting.keys):
            read["texts"] = named["texts"]
        if "{prompts}" in str(setting.keys):
            count = setting.rows.count or self._plan.pairs
            asked = self._ground.prompts("train", self._plan, count)
            return {"prompts": stored(asked, self._place)}, {}
        return read, data


def _job(
    request: Request,
    setting: Setting,
    seed: int,
    named: Named,
    data: dict[str, float],
) -> CellJob:
    plan, ground = request.plan, request.ground
    keys: dict[str, Any] = {
        "learning_rate": plan.learning_rate * setting.rate,
        "epochs": plan.epochs,
        "pairs_per_step": plan.pairs_per_step,
        # A cell of minutes is made anew after a kill; checkpoints would cost more than they save.
        **({} if request.scale == "full" else {"trainer": {"save_strategy": "no"}}),
        **({"lora": True} if ground.lora else {}),
        **setting.keys,
    }
    content = {
        "version": VERSION,
        "model": ground.weights,
        "objective": setting.objective,
        "best_of": setting.best_of,
        "by_round": setting.by_round,
        "keys": keys,
        "seed": seed,
        "max_new_tokens": plan.max_new_tokens,
        "score": ground.scored_by,
        **{name: key for name, (_, key) in sorted(named.items())},
    }
    paths = {"model": ground.start, **{name: str(path) for name, (path, _) in named.items()}}
    return CellJob(content, paths, str(request.output), data)


# ------------------------------------------------------------------ at work


def _make(jobs: Sequence[CellJob], at_once: int, progress: Progress) -> None:
    """All of them, the start's responses first."""
    starts = list({job.measuring.start_file: job for job in jobs}.values())
    with (
        _hands(min(at_once, len(jobs))) as each,
        progress.task(total=len(jobs), description="cells") as task,
    ):
        for _ in each(ask_start, starts):
            pass
        for _ in each(run_cell, jobs):
            task.advance()


Each = Callable[[Callable[[CellJob], Any], Sequence[CellJob]], Iterator[Any]]


@contextmanager
def _hands(number: int) -> Iterator[Each]:
    """Something that calls a function on jobs: here, or in so many processes of one thread."""
    if number <= 1:
        yield map
        return
    pool = ProcessPoolExecutor(
        number, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_hand
    )

    def each(work: Callable[[CellJob], Any], jobs: Sequence[CellJob]) -> Iterator[Any]:
        for future in as_completed([pool.submit(work, job) for job in jobs]):
            yield future.result()

    before = set(multiprocessing.active_children())
    try:
        yield each
    except BaseException:
        # Cells at work save what they can and end; those that are finished are kept.
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_hand() -> None:
    """A process of one thread that says nothing and ends when its parent is gone, however."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    # An interrupt at the keyboard reaches all; the parent says who ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "the pool has started this process"

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
