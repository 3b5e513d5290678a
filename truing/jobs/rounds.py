"""`rounds:` of a run: pairs made, a policy trained, the next round begun from where it ended.

Every station of a round leaves something whole in `rounds/NUMBER/`, and is passed over where that
lies there: a killed loop goes on at its step by being run again.

    pairs/   the build (see `truing.jobs.pairs`)        train/  a run folder of its own
    merged/  base and adapters as plain weights         start/  where an extrapolated round begins
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from truing.config import Rounds, RunConfig
from truing.core.progress import Progress
from truing.engine.adapters import load_merged
from truing.engine.models import choose_numerics, load_tokenizer
from truing.errors import ConfigError, DivergedError
from truing.jobs.pairs import build_pairs, refuse_idle, sampler_of
from truing.jobs.round_measures import Heard, RoundMeasure
from truing.jobs.round_parts import write_part
from truing.jobs.train import TrainResult
from truing.pairs import parse_selector, read_prompts
from truing.references.policies import of_folder
from truing.report import write_report
from truing.responses.identity import model_place
from truing.responses.parse import parse_scorer
from truing.training import folder
from truing.training.rounds import Extrapolate, Frozen, parse_round_reference
from truing.training.trainer import MOMENTS
from truing.training.weights import extrapolate

ROUNDS, TABLE = "rounds", "rounds.jsonl"
Once = Callable[[RunConfig, Mapping[str, Any]], TrainResult]
"""Trains one configuration to its end, or goes on with it."""


def check_rounds(rounds: Rounds) -> None:
    """Read all that a round will need, before a folder is made and an hour is spent.

    Raises:
        KnobError: a sampler, scorer or selector that is none.
        ConfigError: a scorer whose file is not there, a key without effect.
        RowError: prompts that cannot be read.
    """
    measure = rounds.measure
    if rounds.prompts is not None:
        refuse_idle(sampler_of(rounds.sampler), keep_cut=rounds.keep_cut)
    if rounds.select is not None:
        parse_selector(rounds.select)
    for scorer in (rounds.scorer, None if measure is None else measure.scorer):
        if scorer is not None:
            parse_scorer(scorer).key()
    if rounds.prompts is not None:
        read_prompts(rounds.prompts)
    if measure is not None:
        read_prompts(measure.prompts, split="test")


@dataclass(frozen=True)
class RoundsRun:
    """A loop of rounds in its folder.

    Args:
        config: the whole run's.
        rounds: its block of that name.
        progress: shows long work.
        once: trains one round.
    """

    config: RunConfig
    rounds: Rounds
    progress: Progress
    once: Once

    def go(self, options: Mapping[str, Any]) -> TrainResult:
        """All rounds that are not done; the `TrainResult` of the last one, under the run's folder.

        Raises:
            DivergedError: a round selected no pair.
            ConfigError: several processes were started.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError(
                "rounds run in one process",
                where="rounds",
                fix="start it without torchrun, or train a round at a time",
            )
        lines = self._lines()
        result: TrainResult | None = None
        for number in range(1, self.rounds.count + 1):
            began = time.monotonic()
            if number <= len(lines):
                continue
            self.progress.note(f"round {number} of {self.rounds.count}")
            data, rows = self._data(number)
            result = self.once(self._of_round(number, data), self._options(number, options))
            if not result.finished:
                return replace(result, output=self.output)
            self._settle(number)
            line = {"round": number, "rows": rows, "steps": result.steps}
            line |= self._measured(number)
            line["seconds"] = round(time.monotonic() - began, 2)
            folder.append_line(self.output / TABLE, line)
        return self._finish(result)

    @property
    def output(self) -> Path:
        """Of the run."""
        return Path(self.config.output)

    def place(self, number: int) -> Path:
        """The folder of a round; 0 for what concerns the start."""
        return self.output / ROUNDS / str(number)

    def _lines(self) -> list[dict[str, Any]]:
        """The rounds that are done; a line that a kill cut short is left out."""
        path = self.output / TABLE
        if not path.exists():
            return []
        lines = []
        for text in path.read_text(encoding="utf-8").split("\n"):
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                break
        whole = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        folder.write_atomically(path, whole)
        return lines

    # ------------------------------------------------------------------ weights

    @property
    def _start(self) -> str:
        """The first round's start, as a folder where it is one."""
        return self.config.model

    def end(self, number: int) -> str:
        """Plain weights after a round; those of the start for 0."""
        if number == 0:
            return self._start
        place = self.place(number)
        return str(place / ("merged" if self.config.lora else "train"))

    def begin(self, number: int) -> str:
        """Plain weights that a round begins with."""
        reference = parse_round_reference(self.rounds.reference)
        if number == 1 or not isinstance(reference, Extrapolate):
            return self.end(number - 1)
        target = self.place(number) / "start"
        if not target.is_dir():
            trained, before = (Path(model_place(self.end(number - n))) for n in (1, 2))
            extrapolate(trained, before, reference.alpha, target)
        return str(target)

    def _settle(self, number: int) -> None:
        """What later rounds need, and nothing else: adapters merged, checkpoints gone."""
        train = self.place(number) / "train"
        if self.config.lora:
            merged = self.place(number) / "merged"
            if not merged.is_dir():
                with folder.folder_written_aside(merged) as aside:
                    numerics = choose_numerics(self.config.dtype)
                    load_merged(str(train), numerics.weights).save_pretrained(aside)
                    load_tokenizer(str(train)).save_pretrained(aside)
        for checkpoint in folder.checkpoints(train):
            shutil.rmtree(checkpoint)

    # ------------------------------------------------------------------ a round

    def _of_round(self, number: int, data: Any) -> RunConfig:
        """The configuration of one round's training."""
        reference = "policy_start()"
        if number > 1 and isinstance(parse_round_reference(self.rounds.reference), Frozen):
            reference = repr(of_folder(self._start))
        return self.config.model_copy(
            update={
                "model": self.begin(number),
                "data": data,
                "output": str(self.place(number) / "train"),
                "reference": reference,
                "rounds": None,
                # Another round, another order of rows and other draws.
                "seed": self.config.seed + number - 1,
            }
        )

    def _options(self, number: int, options: Mapping[str, Any]) -> dict[str, Any]:
        if self.rounds.optimizer == "restart":
            return dict(options)
        before = self.place(number - 1) / "train" / MOMENTS
        more = {"keeps_moments": True, "moments": str(before) if number > 1 else None}
        return {**options, **more}

    def _data(self, number: int) -> tuple[Any, int | None]:
        """Where a round's rows lie, and how many were selected for it, where it is known."""
        is_fresh = self.rounds.pairs == "resampled"
        data: Any = self.config.data
        rows = None
        if self.rounds.prompts is not None:
            policy, round_of_pairs = (self.begin(number), number) if is_fresh else (self._start, 0)
            data, rows = self._built(policy, round_of_pairs)
        if self.rounds.pairs != "parts":
            return data, rows
        path = self.place(number) / "part.jsonl"
        config = self.config.model_copy(update={"data": data})
        rows = write_part(config, path, number - 1, self.rounds.count)
        return str(path), rows

    def _built(self, policy: str, number: int) -> tuple[str, int]:
        rounds = self.rounds
        given: dict[str, Any] = {"sampler": rounds.sampler, "select": rounds.select}
        if sampler_of(rounds.sampler).draws:
            given["seed"] = self.config.seed + max(number - 1, 0)
        result = build_pairs(
            self.place(number) / "pairs",
            policy=policy,
            prompts=rounds.prompts,
            scorer=str(rounds.scorer),
            keep_cut=rounds.keep_cut,
            progress=self.progress,
            **{name: value for name, value in given.items() if value is not None},
        )
        if not result.rows:
            raise DivergedError(
                f"of {result.counts['responses']} responses no pair was selected",
                where=f"round {max(number, 1)}",
                fix=f"see truing pairs stats {result.output}; select with a smaller gap, or let "
                "responses that were cut in: rounds.keep_cut",
            )
        return str(result.data), result.rows

    # ------------------------------------------------------------------ what it did

    @property
    def _measure(self) -> RoundMeasure | None:
        if self.rounds.measure is None:
            return None
        return RoundMeasure(self.config, self.rounds.measure, self._start)

    def _heard(self, measure: RoundMeasure, number: int) -> Heard:
        who = "the start responds" if number == 0 else f"round {number} responds"
        return measure.heard(self.end(number), self.place(number), who, self.progress)

    def _measured(self, number: int) -> dict[str, Any]:
        measure = self._measure
        if measure is None:
            return {}
        start, before, now = (self._heard(measure, n) for n in (0, number - 1, number))
        if now.num_unscored:
            self.progress.note(
                f"{now.num_unscored} of {len(now.texts)} held-out responses have no score: they "
                "count as the worst of the others"
            )
        return measure.numbers(now, before, start)

    def _finish(self, result: TrainResult | None) -> TrainResult:
        """The last round's weights under the run's folder, its curves and numbers, the report."""
        lines, last = self._lines(), self.rounds.count
        output = self.output
        for file in sorted(Path(self.end(last)).iterdir()):
            if file.is_file() and file.name not in _OWN and not file.name.startswith("."):
                _link(file, output / file.name)
        for name in (folder.METRICS, folder.ALARMS):
            if counted_on := self._counted_on(name):
                folder.write_atomically(output / name, "".join(counted_on))
        measure = self._measure
        evaluation = _first_file(self.place(last) / "train" / folder.EVALUATION)
        if measure is not None:
            evaluation |= {k: v for k, v in lines[-1].items() if k not in _OF_LOOP}
            samples = measure.side_by_side(self._heard(measure, 0), self._heard(measure, last))
            text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in samples)
            folder.write_atomically(output / folder.SAMPLES, text)
        if evaluation:
            folder.write_json(output / folder.EVALUATION, evaluation)
        steps = sum(int(line["steps"]) for line in lines)
        folder.write_json(output / folder.FINISHED, {"steps": steps})
        write_report(output)
        notes = () if result is None else result.notes
        return TrainResult(
            output, steps, finished=True, evaluation=evaluation, notes=notes, rounds=tuple(lines)
        )

    def _counted_on(self, name: str) -> list[str]:
        """Every round's lines of a file, steps counted on."""
        lines, before = [], 0
        for done in self._lines():
            path = self.place(done["round"]) / "train" / name
            texts = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            for line in map(json.loads, texts):
                counted = {**line, "step": before + int(line["step"]), "round": done["round"]}
                lines.append(json.dumps(counted, ensure_ascii=False) + "\n")
            before += int(done["steps"])
        return lines


_OF_LOOP = {"round", "rows", "steps", "seconds"}
_OWN = {
    folder.CONFIG,
    folder.METRICS,
    folder.ALARMS,
    folder.DATA,
    folder.EVALUATION,
    folder.SAMPLES,
    folder.FINISHED,
    MOMENTS,
    "report.html",
}


def _first_file(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _link(file: Path, target: Path) -> None:
    """The same file under another name; a copy where the disk has no links."""
    aside = target.with_name(f".{target.name}.linking")
    aside.unlink(missing_ok=True)
    try:
        aside.hardlink_to(file)
    except OSError:
        shutil.copy2(file, aside)
    aside.replace(target)
