"""`truing watch`: how a run goes, read from its folder while another process trains."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from truing.config import RunConfig, build_config, read_config
from truing.errors import ResumeError
from truing.jobs.rounds import ROUNDS
from truing.training import folder

# What is shown, in this order, where the run has it.
SHOWN = (
    "loss",
    "rewards/accuracies",
    "rewards/margins",
    "policy_accuracy",
    "rewards/length_correlation",
    "reference/kl",
    "reference_1/kl",
    "reference_2/kl",
    "logps_drift/chosen",
    "logps_drift/rejected",
    "grad_norm",
    "learning_rate",
    "eval/reward_accuracy",
    "eval/margin",
    "eval/kl",
)
# Steps over which the speed is measured.
RECENT = 20


@dataclass(frozen=True)
class Glance:
    """A run as it stands.

    Args:
        run: its folder.
        step: optimizer steps done.
        num_steps: of the whole run; None where its data is not read yet.
        seconds_left: at the speed of the last steps; None where nobody knows.
        tokens_per_second: over the last steps.
        series: every value so far of each metric that is shown.
        alarms: sentences.
        is_finished: the run has ended well.
        of_rounds: which round of how many is at work, and all else is that round's; None for a
            run without rounds, and for one that has ended.
    """

    run: Path
    step: int
    num_steps: int | None
    seconds_left: float | None
    tokens_per_second: float | None
    series: Mapping[str, list[float]]
    alarms: tuple[str, ...]
    is_finished: bool
    of_rounds: tuple[int, int] | None = None


def glance(run: Path) -> Glance:
    """Read a run's folder, which may be written to at the same time.

    Raises:
        ResumeError: it holds no run.
    """
    if not (run / folder.CONFIG).is_file():
        raise ResumeError(
            "holds no run.yaml", where=str(run), fix="give the output folder of `truing train`"
        )
    config = build_config(read_config(run / folder.CONFIG), where=str(run / folder.CONFIG))
    is_finished = (run / folder.FINISHED).exists()
    if config.rounds is not None and not is_finished:
        return _of_round(run, config.rounds.count)
    lines = _lines(run / folder.METRICS)
    steps = [line for line in lines if "loss" in line]
    step = steps[-1]["step"] if steps else 0
    total = _num_steps(run, config)
    recent = steps[-RECENT:]
    seconds = sum(line.get("seconds", 0.0) for line in recent)
    left = None if total is None or not recent else (total - step) * seconds / len(recent)
    return Glance(
        run=run,
        step=step,
        num_steps=total,
        seconds_left=left,
        tokens_per_second=sum(line.get("tokens", 0) for line in recent) / seconds
        if seconds
        else None,
        series={name: found for name in SHOWN if (found := _series(lines, name))},
        alarms=tuple(
            f"step {line['step']}: {line['what']}; {line['fix']}"
            for line in _lines(run / folder.ALARMS)
        ),
        is_finished=is_finished,
    )


def _of_round(run: Path, count: int) -> Glance:
    """The round at work: the last one whose training has begun, or the first one."""
    begun = [
        number
        for number in range(1, count + 1)
        if (run / ROUNDS / str(number) / "train" / folder.CONFIG).is_file()
    ]
    if not begun:
        return Glance(run, 0, None, None, None, {}, (), is_finished=False, of_rounds=(1, count))
    found = glance(run / ROUNDS / str(begun[-1]) / "train")
    return replace(found, run=run, is_finished=False, of_rounds=(begun[-1], count))


def _num_steps(run: Path, config: RunConfig) -> int | None:
    given = int(config.trainer.get("max_steps", -1))
    if given > 0:
        return given
    if not (run / folder.DATA).is_file():
        return None
    rows = json.loads((run / folder.DATA).read_text(encoding="utf-8"))["train"]["rows"]
    return math.ceil(config.epochs * math.ceil(rows / config.pairs_per_step))


def _series(lines: list[dict[str, Any]], name: str) -> list[float]:
    values = [line.get(name) for line in lines]
    return [float(value) for value in values if isinstance(value, int | float)]


def _lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines; one that is being written is left for the next look."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines() if line]
