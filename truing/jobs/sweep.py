"""`truing sweep`: a grid of runs in one table and on one page, taken up again after a kill."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
import yaml

from truing.config import build_config
from truing.core.progress import SILENT, Progress
from truing.errors import ConfigError, StoppedError, TruingError
from truing.jobs.compare import compare
from truing.jobs.sweep_grid import Axis, Point, points
from truing.jobs.train import resume, train
from truing.training import folder

RESULTS, PAGE, RUNS, LOGS = "results.json", "compare.html", "runs", "logs"
# Of these the smallest value is the best.
SMALL_IS_GOOD = frozenset({"nll", "perplexity", "displaced", "kl", "calibration_error"})
_FIRST = ("win_rate", "reward_accuracy", "policy_accuracy", "nll")


@dataclass(frozen=True)
class Line:
    """A run of the sweep in the table.

    Args:
        name: of the run's folder.
        settings: what sets it apart, by key.
        numbers: its evaluation; empty where it failed.
        fault: why it failed; "" where it did not.
    """

    name: str
    settings: Mapping[str, str]
    numbers: Mapping[str, Any]
    fault: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "settings": dict(self.settings),
            "numbers": dict(self.numbers),
            "fault": self.fault,
        }


@dataclass(frozen=True)
class SweepResult:
    """All runs, the best first.

    Args:
        output: the sweep's folder; the runs lie in `runs` below it.
        measure: what they are sorted by.
        lines: one a run; failed ones last.
        page: of all finished runs beside each other; None where there are fewer than two, or
            their rows are texts.
    """

    output: Path
    measure: str
    lines: tuple[Line, ...]
    page: Path | None

    @property
    def best(self) -> Line | None:
        """The first line, if its run was finished."""
        return next((line for line in self.lines if not line.fault), None)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "output": str(self.output),
            "measure": self.measure,
            "page": None if self.page is None else str(self.page),
            "runs": [line.to_json() for line in self.lines],
        }


def sweep(
    base: Mapping[str, Any],
    axes: Sequence[Axis],
    output: str | Path,
    *,
    sort: str | None = None,
    jobs: int | None = None,
    progress: Progress = SILENT,
) -> SweepResult:
    """Train every combination of values, and set the runs beside each other.

    A finished run is not trained again and a stopped one goes on, so a killed sweep is taken up by
    the same call. Runs that share model and rows share what the reference says through the store.
    A run that stops itself (its loss is not finite, say) is a line with its fault; others go on.

    Args:
        base: the keys that all runs share; `evaluation.data` among them.
        axes: keys (or knobs, `objective.beta`) with their values.
        output: the sweep's folder; new, or that of the same sweep.
        sort: a number of the evaluation; None: the first of win rate, accuracies, loss.
        jobs: runs at a time, each on a device of its own; None: one a GPU, else one.
        progress: shows the work.

    Raises:
        TruingError: a combination that is no configuration, before any run begins.
    """
    grid = points(base, axes)
    if any("data" not in (point.values.get("evaluation") or {}) for point in grid):
        raise ConfigError(
            "runs without held-out rows cannot be set beside each other",
            where="evaluation.data",
            fix="give evaluation.data=HELD-OUT.jsonl",
        )
    output = Path(output)
    (output / RUNS).mkdir(parents=True, exist_ok=True)
    devices = torch.cuda.device_count()
    at_once = min(jobs or max(1, devices), len(grid))
    run = _Runs(output, devices, at_once, sort)
    lines = run.here(grid, progress) if at_once == 1 else run.beside(grid, progress)
    measure = _measure(sort, lines)
    lines = sorted(lines, key=lambda line: _place(line, measure))
    result = SweepResult(output, measure, tuple(lines), _page(output, grid, lines, progress))
    folder.write_json(output / RESULTS, result.to_json())
    return result


@dataclass(frozen=True)
class _Runs:
    """The runs of a sweep, one after the other or several at a time."""

    output: Path
    devices: int
    at_once: int
    sort: str | None

    def here(self, grid: Sequence[Point], progress: Progress) -> list[Line]:
        """In this process, one after the other."""
        lines = []
        for number, point in enumerate(grid, start=1):
            progress.note(f"run {number} of {len(grid)}: {point.name}")
            lines.append(self._line(point, lambda point=point: self._train(point, progress)))
        return lines

    def beside(self, grid: Sequence[Point], progress: Progress) -> list[Line]:
        """In processes of their own, so many at a time, each on one device."""
        free: SimpleQueue[int] = SimpleQueue()
        for number in range(self.at_once):
            free.put(number)
        children: set[subprocess.Popen[str]] = set()
        stopping = threading.Event()

        def one(point: Point) -> Line:
            device = free.get()
            try:
                return self._line(point, lambda: self._child(point, device, children, stopping))
            finally:
                free.put(device)

        with ThreadPoolExecutor(self.at_once) as pool:
            try:
                futures = [pool.submit(one, point) for point in grid]
                shown = progress.track(futures, total=len(grid), description="runs")
                return [future.result() for future in shown]
            except BaseException:
                stopping.set()
                for child in tuple(children):
                    child.terminate()  # it finishes its step and saves
                pool.shutdown(cancel_futures=True)
                raise

    def _folder(self, point: Point) -> Path:
        return self.output / RUNS / point.name

    def _line(self, point: Point, make: Callable[[], None]) -> Line:
        """Its numbers, made first where they are not there."""
        run = self._folder(point)
        fault = ""
        if not (run / folder.FINISHED).exists():
            try:
                make()
            except TruingError as error:
                fault = str(error)
        file = run / folder.EVALUATION
        numbers = json.loads(file.read_text(encoding="utf-8")) if not fault else {}
        if numbers:
            # After the first run, not after the last.
            _refuse_unknown(self.sort, numbers)
        return Line(point.name, point.settings, numbers, fault)

    def _train(self, point: Point, progress: Progress) -> None:
        run = self._folder(point)
        if (run / folder.CONFIG).is_file():
            result = resume(run, progress=progress)
        else:
            result = train(**point.values, output=run, progress=progress)
        if not result.finished:
            raise KeyboardInterrupt

    def _child(
        self,
        point: Point,
        device: int,
        children: set["subprocess.Popen[str]"],
        stopping: threading.Event,
    ) -> None:
        """The same by the command `truing train`; its words go into a file below `logs`."""
        if stopping.is_set():
            return
        run, logs = self._folder(point), self.output / LOGS
        logs.mkdir(exist_ok=True)
        asked = logs / f"{point.name}.yaml"
        config = build_config({**point.values, "output": str(run)})
        asked.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
        known = (run / folder.CONFIG).is_file()
        what = ["--resume", str(run)] if known else [str(asked)]
        environment = child_environment(os.environ, device, self.devices, self.at_once)
        with (logs / f"{point.name}.txt").open("w", encoding="utf-8") as words:
            child = subprocess.Popen(
                [sys.executable, "-m", "truing", "train", *what],
                stdout=words,
                stderr=subprocess.STDOUT,
                env=environment,
                text=True,
                # Ctrl-C reaches this process alone, which asks each child once: to be asked
                # twice would stop it before it has saved.
                start_new_session=True,
            )
            children.add(child)
            code = child.wait()
            children.discard(child)
        if code:
            said = (logs / f"{point.name}.txt").read_text(encoding="utf-8").strip()
            told = said.rpartition("error: ")[2] if "error: " in said else said[-300:]
            raise StoppedError(
                " ".join(told.split()) or f"ended with exit code {code}",
                where=point.name,
                fix=f"see {logs / point.name}.txt",
            )


def child_environment(
    given: Mapping[str, str], device: int, devices: int, at_once: int
) -> dict[str, str]:
    """What a run in a process of its own is told of the machine.

    Args:
        given: of this process; threads and devices that it names are heeded.
        device: the number of the run's place, from 0.
        devices: how many GPUs this process sees.
        at_once: runs at a time, among which the cores are parted.
    """
    threads = str(max(1, (os.cpu_count() or 1) // at_once))
    environment = {"OMP_NUM_THREADS": threads, **given}
    if devices:
        seen = [one for one in given.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
        names = seen or [str(number) for number in range(devices)]
        environment["CUDA_VISIBLE_DEVICES"] = names[device % len(names)]
    return environment


# ------------------------------------------------------------------ results


def _measure(sort: str | None, lines: Sequence[Line]) -> str:
    found = [line.numbers for line in lines if not line.fault]
    if not found:
        raise StoppedError(
            f"no run was finished; the first one says: {lines[0].fault}",
            where="sweep",
            fix="mend what is wrong, and give the same command again",
        )
    known = _known(found[0])
    return sort or next(key for key in (*_FIRST, *known) if key in known)


def _known(numbers: Mapping[str, Any]) -> list[str]:
    return [key for key, value in numbers.items() if isinstance(value, int | float)]


def _refuse_unknown(sort: str | None, numbers: Mapping[str, Any]) -> None:
    known = _known(numbers)
    if sort is not None and sort not in known:
        shown = [key for key in known if f"{key}_low" in numbers]
        raise ConfigError(
            f"the runs have no number {sort}", where="--sort", fix=f"one of {', '.join(shown)}"
        )


def _place(line: Line, measure: str) -> tuple[bool, float]:
    value = line.numbers.get(measure)
    sign = 1.0 if measure in SMALL_IS_GOOD else -1.0
    return value is None, 0.0 if value is None else sign * float(value)


def _page(
    output: Path, grid: Sequence[Point], lines: Sequence[Line], progress: Progress
) -> Path | None:
    runs = [output / RUNS / line.name for line in lines if not line.fault]
    held = {str(point.values["evaluation"]["data"]) for point in grid}
    of_texts = any(point.values.get("texts") for point in grid)
    if len(runs) < 2 or len(held) > 1 or of_texts:
        return None
    compare(runs, data=held.pop(), output=output / PAGE, progress=progress)
    return output / PAGE
