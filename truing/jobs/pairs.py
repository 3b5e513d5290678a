"""`truing pairs build`: prompts in, preference rows out, everything between kept and not redone."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import parquet

from truing.core.progress import SILENT, Progress, Task, Within
from truing.errors import ConfigError
from truing.pairs import (
    MANIFEST,
    ROWS,
    SAMPLES,
    Folder,
    Plan,
    Prompts,
    Stages,
    parse_selector,
    read_prompts,
    write_rows,
)
from truing.pairs.shards import content_hash
from truing.pairs.tables import counts_of
from truing.responses.parse import parse_sampler, parse_scorer
from truing.responses.samplers import Sampler
from truing.training import folder

PLAN, RESULT, COST = "plan.json", "manifest.json", "cost.json"
_EXISTING = {"folder": Folder}


@dataclass(frozen=True)
class PairsResult:
    """What was built.

    Args:
        output: the folder.
        rows: rows for training, in `output/pairs.parquet`.
        counts: what there is, and what is wrong with it.
        faults: the commonest reasons why a response has no score, and how often.
        cost: what a judge has spent in this call.
        seconds: that this call took.
        num_new: shards that were made in this call; the others lay there.
    """

    output: Path
    rows: int
    counts: Mapping[str, int]
    faults: Mapping[str, int]
    cost: Mapping[str, float]
    seconds: float
    num_new: int

    @property
    def data(self) -> Path:
        """What `truing train --data` takes."""
        return self.output / ROWS

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "output": str(self.output),
            "data": str(self.data) if self.rows else None,
            "rows": self.rows,
            "new_shards": self.num_new,
            "seconds": round(self.seconds, 2),
            "counts": dict(self.counts),
            "faults": dict(self.faults),
            "cost": dict(self.cost),
        }


def build_pairs(
    output: str | Path,
    *,
    scorer: str,
    select: str = "best_vs_worst()",
    sampler: str = "generate()",
    policy: str | None = None,
    prompts: str | None = None,
    rows: int | None = None,
    seed: int | None = None,
    shard_rows: int = 256,
    keep_cut: bool = False,
    retry_faults: bool = False,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> PairsResult:
    """Sample responses, score them, select who stands against whom.

    Everything lies in `output`, in shards named by what they were made from: the same call again
    does nothing, a killed one goes on with the first shard that is not there, another scorer
    takes the same samples, another selector the same scores.

    Args:
        output: a folder, new or of the same samples.
        scorer: an expression, for instance "lexicon(path='words.tsv')".
        select: an expression, for instance "rs_dpo(eta=0.9)".
        sampler: an expression, for instance "generate(num_responses=8)" or "folder(path='x')".
        policy: folder or hub name of the model that responds.
        prompts: a file with a column `prompt`, or "world(split='train')".
        rows: the first so many prompts.
        seed: of sampling; None: 0.
        shard_rows: prompts of a shard.
        keep_cut: pairs may hold responses that were cut before their end.
        retry_faults: score shards again that hold a response without a score.
        workers: so many processes of a Ray cluster; None: this process.
        progress: shows long work.

    Raises:
        TruingError: see `truing.errors`.
    """
    began = time.monotonic()
    selector, scoring = parse_selector(select), parse_scorer(scorer)
    sampling = sampler_of(sampler)
    refuse_idle(sampling, seed, keep_cut=keep_cut)
    asked = _prompts(sampling, policy, prompts).first(rows)
    plan = Plan(policy or "", sampling, scoring, asked, seed or 0, shard_rows)
    output = Path(output)
    _claim(output, plan)
    stages = Stages(plan, output)
    missing, spent = _built(stages, workers, progress, retry_faults=retry_faults)
    shards = stages.shards()
    found = write_rows(shards, selector, output / ROWS, keep_cut=keep_cut)
    counts, faults = counted(shards)
    folder.write_json(output / RESULT, _result(stages, shards, repr(selector), found, counts))
    cost = _spent(output, spent)
    return PairsResult(
        output, found, counts, faults, cost, time.monotonic() - began, num_new=len(missing)
    )


def _built(
    stages: Stages, workers: int | None, progress: Progress, *, retry_faults: bool
) -> tuple[list[int], dict[str, float]]:
    """Make the shards that are not there; which they were, and what the scorer spent on them."""
    stages.samples.sweep()
    stages.manifest.sweep()
    if retry_faults:
        stages.forget_faults()
    missing = stages.missing()
    if workers is not None and missing:
        spent = _on_cluster(stages, missing, workers, progress)
    else:
        _here(stages, missing, progress)
        spent = stages.cost()
    repeated = stages.plan.prompts.num_repeated
    if repeated:
        progress.note(f"{repeated} prompts stand there more than once; each is asked once")
    stages.manifest.keep_only(stages.plan.keys)
    return missing, spent


def sampler_of(text: str | None) -> Sampler:
    """The sampler that an expression stands for; None: the policy's own responses.

    Raises:
        KnobError: it is no sampler expression.
    """
    return parse_sampler(text or "generate()", _EXISTING)


def refuse_idle(sampler: Sampler, seed: int | None = None, *, keep_cut: bool) -> None:
    """Options that would do nothing with this sampler.

    Raises:
        ConfigError: names the first of them.
    """
    idle = {
        "`seed` has no effect: nothing is drawn": seed is not None and not sampler.draws,
        "`keep_cut` has no effect: all its responses count as whole": (
            keep_cut and not sampler.may_cut
        ),
    }
    for what, is_true in idle.items():
        if is_true:
            raise ConfigError(what, where=repr(sampler), fix="leave it out")


def _prompts(sampler: Sampler, policy: str | None, prompts: str | None) -> Prompts:
    if not isinstance(sampler, Folder):
        if policy is None:
            raise ConfigError(
                f"{sampler!r} needs a model that responds", where="policy", fix="give --policy"
            )
        if prompts is None:
            raise ConfigError("there are no prompts", where="prompts", fix="give --prompts")
    elif prompts is None:
        return sampler.prompts()
    assert prompts is not None, "one of both is given"
    return read_prompts(prompts)


def _claim(output: Path, plan: Plan) -> None:
    """The folder is this plan's: its samples are those of the same policy, sampler and prompts."""
    mine = {
        "policy": plan.policy_key,
        "sampler": repr(plan.sampler),
        "sampler_key": plan.sampler_key,
        "prompts": plan.prompts.key,
        "seed": plan.seed,
        "shard_rows": plan.shard_rows,
    }
    path = output / PLAN
    if not path.is_file():
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise ConfigError(
                "there is something else in the output folder",
                where=str(output),
                fix="take another folder",
            )
        output.mkdir(parents=True, exist_ok=True)
        folder.write_json(path, mine)
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    other = [name for name, value in mine.items() if before.get(name) != value]
    if other:
        raise ConfigError(
            f"the folder holds samples of another {', '.join(other)}",
            where=str(output),
            fix="take another folder; another scorer or selector may use this one",
        )


class _Rate:
    """Tells a task what is done, and how fast it goes."""

    def __init__(self, task: Task, unit: str) -> None:
        self._task, self._unit = task, unit
        self._began, self._done = time.monotonic(), 0

    def advance(self, done: int = 1, *, note: str = "") -> None:
        """So much more is done."""
        self._done += done
        rate = self._done / max(time.monotonic() - self._began, 1e-9)
        self._task.advance(done, note=note or f"{rate:.1f} {self._unit}/s")

    def reach(self, done: int) -> None:
        """So much is done in all: what nobody has told of is advanced."""
        if done > self._done:
            self.advance(done - self._done)


def _here(stages: Stages, missing: list[int], progress: Progress) -> None:
    """Sample all shards, then score them: one model in memory at a time."""
    plan = stages.plan
    unsampled = [n for n in missing if stages.samples.find(n, plan.sample_key(n)) is None]
    # Samples that lie there are counted by prompts: how many each has is not known before.
    width = plan.sampler.num_responses or 1
    unit = "responses" if plan.sampler.num_responses else "prompts"
    total = sum(len(plan.asked(n)) for n in unsampled) * width
    if unsampled:
        with progress.task(total=total, description="sampling") as task:
            rated, due = _Rate(task, unit), 0
            for number in unsampled:
                stages.sampled(number, Within(rated))
                due += len(plan.asked(number)) * width
                rated.reach(due)  # prompts without room, and samples that are only looked up
        stages.forget_policy()
    if missing:
        total = sum(len(plan.asked(n)) for n in missing)
        with progress.task(total=total, description="scoring") as task:
            rated = _Rate(task, "prompts")
            for number in missing:
                stages.scored(number)
                rated.advance(len(plan.asked(number)))


def _on_cluster(
    stages: Stages, missing: list[int], workers: int, progress: Progress
) -> dict[str, float]:
    from truing.pairs.cluster import on_ray

    plan = stages.plan
    total = sum(len(plan.asked(n)) for n in missing)
    with progress.task(total=total, description="sampling, scoring") as task:
        rated = _Rate(task, "prompts")
        return on_ray(
            plan,
            stages.output,
            missing,
            workers=workers,
            done=lambda number: rated.advance(len(plan.asked(number))),
        )


def counted(shards: list[Path]) -> tuple[dict[str, int], dict[str, int]]:
    """What the shards of a manifest hold, and the five commonest faults."""
    counts: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for shard in shards:
        table = parquet.read_table(shard)
        counts.update(counts_of(table))
        faults.update(fault for row in table.column("faults").to_pylist() for fault in row)
    return dict(counts), dict(faults.most_common(5))


def _result(
    stages: Stages, shards: list[Path], selector: str, rows: int, counts: Mapping[str, int]
) -> dict[str, Any]:
    """What lies in the folder, the same for the same inputs: no time, no machine, no price."""
    plan = stages.plan
    samples = [stages.samples.find(n, plan.sample_key(n)) for n in range(plan.num_shards)]
    pairs = stages.output / ROWS
    return {
        "policy": plan.policy_key,
        "sampler": repr(plan.sampler),
        "scorer": repr(plan.scorer),
        "select": selector,
        "seed": plan.seed,
        "rows": rows,
        "counts": dict(counts),
        SAMPLES: [path.name for path in samples if path is not None],
        MANIFEST: [path.name for path in shards],
        ROWS: content_hash(pairs) if pairs.exists() else None,
    }


def _spent(output: Path, cost: dict[str, float]) -> dict[str, float]:
    """Add this call's cost to the folder's; what this call spent."""
    if cost:
        path = output / COST
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        total = {name: before.get(name, 0) + value for name, value in cost.items()}
        folder.write_json(path, total)
    return cost
