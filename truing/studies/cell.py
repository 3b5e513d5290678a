"""One cell of a study: a setting with a seed, known by its content, kept whole or not at all.

DIR/files/KEY.jsonl    rows, held-out pairs and prompts
DIR/start/KEY.json     what the start says to the prompts
DIR/cells/KEY.json     a finished cell: numbers, curves, samples
DIR/work/KEY/          a cell at work; gone when it is finished
"""

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from truing.core.progress import SILENT
from truing.errors import DivergedError
from truing.jobs.demo import one_thread
from truing.jobs.evaluate import evaluate
from truing.jobs.train import resume, train
from truing.studies.measuring import Measuring
from truing.training import folder
from truing.world import model_folder

VERSION = 1
"""Of how cells are measured; another number makes every cell anew."""
CELLS, START, FILES, WORK = "cells", "start", "files", "work"
_BINS = 24
_CURVES = (
    "loss",
    "rewards/margins",
    "rewards/accuracies",
    "logps_drift/chosen",
    "logps_drift/rejected",
)


@dataclass(frozen=True)
class CellJob:
    """Everything that a cell needs, to be sent to another process.

    Args:
        content: what its numbers depend on; plain values, files by content.
        paths: where these files lie here: `model`, `rows`, `held`, `tuning`, `test`; and
            `prompts`, `texts`, `tuning_pairs` where they are read.
        place: the folder over all studies.
        data: facts of its rows, put beside its numbers.
    """

    content: Mapping[str, Any]
    paths: Mapping[str, str]
    place: str
    data: Mapping[str, float]

    @property
    def key(self) -> str:
        """Its name: a hash of its content."""
        return content_key(self.content)

    @property
    def file(self) -> Path:
        """Where it lies when it is finished."""
        return Path(self.place) / CELLS / f"{self.key}.json"

    @property
    def measuring(self) -> Measuring:
        """How policies are asked."""
        content = self.content
        start = {
            name: content[name] for name in ("model", "tuning", "test", "max_new_tokens", "score")
        }
        return Measuring(
            model=self.paths["model"],
            tuning=self.paths["tuning"],
            test=self.paths["test"],
            max_new_tokens=content["max_new_tokens"],
            score=content["score"],
            start_file=str(Path(self.place) / START / f"{content_key(start)}.json"),
        )


def content_key(content: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits of plain values."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def ask_start(job: CellJob) -> None:
    """What the start says to a job's prompts, once for all cells that ask the same."""
    with one_thread():
        job.measuring.start()


def run_cell(job: CellJob) -> str:
    """Train and measure; the cell's key. What is finished already is not touched.

    A run that stops itself because its loss or gradient is not finite, or because its rounds find
    no pair, is a cell with its fault.

    Raises:
        KeyboardInterrupt: interrupted; the run's state is saved, and the same call goes on.
        TruingError: the setting cannot be trained at all.
    """
    if not job.file.exists():
        with one_thread():
            found = _made(job)
        job.file.parent.mkdir(parents=True, exist_ok=True)
        folder.write_json(job.file, {"content": dict(job.content), **found})
        shutil.rmtree(_work(job), ignore_errors=True)
    return job.key


def _work(job: CellJob) -> Path:
    return Path(job.place) / WORK / job.key


def _made(job: CellJob) -> dict[str, Any]:
    spent = _Spent()
    if job.content["best_of"]:
        found = job.measuring.best_of(job.content["best_of"], job.content["seed"])
        return _finished(found, {}, {}, spent.numbers(spent))
    run = _work(job) / "run"
    try:
        trained = _evaluated(run) if (run / folder.FINISHED).exists() else _trained(job, run)
    except DivergedError as error:
        return {"fault": error.what, "numbers": spent.numbers(_Spent())}
    done = _Spent()
    found = job.measuring.policy(str(run))
    if "tuning_pairs" in job.paths:
        # Without a score the values are chosen by pairs that are neither trained nor reported on.
        judged = evaluate(run, job.paths["tuning_pairs"])
        found["numbers"]["tuning_accuracy"] = judged["reward_accuracy"] or 0.0
    if job.content["by_round"]:
        found["numbers"] |= _earlier_rounds(job, run)
    return _finished(found, trained, _curves(run), spent.numbers(done))


class _Spent:
    """A moment: of the clock, and of the processor's time that this process has had.

    The second is what a cell costs also where other programs hold the machine.
    """

    def __init__(self) -> None:
        self.clock, self.processor = time.monotonic(), time.process_time()

    def numbers(self, trained: "_Spent") -> dict[str, float]:
        """Seconds from here to `trained`, and to now."""
        now = _Spent()
        found = {
            "train_seconds": trained.clock - self.clock,
            "seconds": now.clock - self.clock,
            "train_cpu_seconds": trained.processor - self.processor,
            "cpu_seconds": now.processor - self.processor,
        }
        return {name: round(value, 2) for name, value in found.items()}


_OF_ROUND = ("score", "win_rate", "kl", "length", "tuning_score")


def _earlier_rounds(job: CellJob, run: Path) -> dict[str, float]:
    """`score_round_1` and so on, of every round but the last, whose end is the policy itself."""
    ends = sorted(run.glob("rounds/[1-9]*/train"), key=lambda place: int(place.parent.name))[:-1]
    numbers: dict[str, float] = {}
    for number, place in enumerate(ends, start=1):
        found = job.measuring.policy(str(place))["numbers"]
        numbers |= {f"{n}_round_{number}": found[n] for n in _OF_ROUND if n in found}
    return numbers


def _trained(job: CellJob, run: Path) -> Mapping[str, Any]:
    if (run / folder.CONFIG).is_file():
        result = resume(run, progress=SILENT)
    else:
        # A kill may have come before the run knew its own settings.
        shutil.rmtree(run, ignore_errors=True)
        result = train(**_keys(job), output=str(run), progress=SILENT)
    if not result.finished:
        raise KeyboardInterrupt
    return result.evaluation


def _evaluated(run: Path) -> Mapping[str, Any]:
    path = run / folder.EVALUATION
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _keys(job: CellJob) -> dict[str, Any]:
    """The keys of the run, with this machine's files in them."""
    content, paths = job.content, job.paths
    keys: dict[str, Any] = {
        "model": paths["model"],
        "objective": content["objective"],
        "seed": content["seed"],
        **_filled(content["keys"], {**paths, "score": content["score"] or ""}),
    }
    keys["evaluation"] = {"data": paths["held"], "samples": 0}
    if "prompts" not in keys.get("rounds", {}):
        keys["data"] = paths["rows"]
    return keys


def _filled(value: Any, paths: Mapping[str, str]) -> Any:
    """Texts with `{stronger}`, `{rows}` and the like filled in, however deep."""
    if isinstance(value, Mapping):
        return {key: _filled(inner, paths) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(inner, paths) for inner in value]
    if not isinstance(value, str):
        return value
    known = {name: str(model_folder(name)) for name in ("stronger", "foreign")}
    for name, path in {**known, **paths}.items():
        value = value.replace(f"{{{name}}}", path)
    return value


_OF_PAIRS = ("reward_accuracy", "policy_accuracy", "margin", "drift_chosen", "drift_rejected",
             "displaced", "reward_length_correlation", "log_loss")  # fmt: skip


def _finished(
    found: Mapping[str, Any],
    trained: Mapping[str, Any],
    curves: Mapping[str, Any],
    spent: Mapping[str, float],
) -> dict[str, Any]:
    numbers = {name: trained[name] for name in _OF_PAIRS if trained.get(name) is not None}
    return {
        "fault": "",
        "numbers": {**numbers, **found["numbers"], **spent},
        "curves": dict(curves),
        "buckets": trained.get("by_length_difference", []),
        "samples": found["samples"],
    }


def _curves(run: Path) -> dict[str, list[list[float]]]:
    """Each curve of training in a few bins, (mean step, mean value)."""
    path = run / folder.METRICS
    if not path.is_file():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    found = {}
    for name in _CURVES:
        points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
        if points:
            parts = np.array_split(np.array(points, dtype=float), min(_BINS, len(points)))
            found[name] = [[round(float(v), 5) for v in part.mean(axis=0)] for part in parts]
    return found
