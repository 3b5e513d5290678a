"""The stages of building pairs, shard by shard: sample, score, select; nothing done twice."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pyarrow import parquet

from truing.core.progress import SILENT, Progress
from truing.pairs.prompts import Prompts, prompts_key
from truing.pairs.shards import ShardFolder, combined_key
from truing.pairs.tables import groups_of, sampled_table, scored_table
from truing.responses.groups import Asked
from truing.responses.samplers import OpenSampler, Sampler, policy_key
from truing.responses.scorers import OpenScorer, Scorer

SAMPLES, MANIFEST, ROWS = "samples", "manifest", "pairs.parquet"


@dataclass(frozen=True)
class Plan:
    """What is built: everything that the manifest depends on.

    Args:
        policy: folder or hub name; "" where the sampler needs none.
        sampler: where responses come from.
        scorer: what they are worth.
        prompts: who is asked.
        seed: of sampling.
        shard_rows: prompts of a shard: what is lost at most by a kill.
    """

    policy: str
    sampler: Sampler
    scorer: Scorer
    prompts: Prompts
    seed: int = 0
    shard_rows: int = 256

    @cached_property
    def policy_key(self) -> str:
        """Of the weights."""
        return policy_key(self.policy)

    @cached_property
    def sampler_key(self) -> str:
        """Of the sampler."""
        return combined_key(self.sampler.key(), str(self.seed))

    @cached_property
    def scorer_key(self) -> str:
        """Of the scorer."""
        return combined_key(self.scorer.key())

    @property
    def num_shards(self) -> int:
        """The last one may hold fewer prompts."""
        return -(-len(self.prompts.asked) // self.shard_rows)

    def asked(self, shard: int) -> Sequence[Asked]:
        """The prompts of a shard."""
        start = shard * self.shard_rows
        return self.prompts.asked[start : start + self.shard_rows]

    def sample_key(self, shard: int) -> str:
        """Everything that the responses of a shard depend on."""
        return combined_key(self.policy_key, self.sampler_key, prompts_key(self.asked(shard)))

    def score_key(self, shard: int) -> str:
        """Everything that its scores depend on."""
        return combined_key(self.sample_key(shard), self.scorer_key)

    @cached_property
    def keys(self) -> dict[int, str]:
        """Of the shards of the manifest."""
        return {shard: self.score_key(shard) for shard in range(self.num_shards)}


@dataclass
class Stages:
    """The stages at work on one machine; models are loaded when the first shard needs them."""

    plan: Plan
    output: Path
    _sampler: OpenSampler | None = field(default=None, repr=False)
    _scorer: OpenScorer | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.samples = ShardFolder(self.output / SAMPLES)
        self.manifest = ShardFolder(self.output / MANIFEST)

    def missing(self) -> list[int]:
        """Shards that the manifest lacks."""
        return [n for n, key in self.plan.keys.items() if self.manifest.find(n, key) is None]

    def sampled(self, shard: int, progress: Progress = SILENT) -> Path:
        """Sample a shard, unless it lies there."""
        plan, key = self.plan, self.plan.sample_key(shard)
        found = self.samples.find(shard, key)
        if found is not None:
            return found
        if self._sampler is None:
            self._sampler = plan.sampler.opened(plan.policy)
        groups = self._sampler(plan.asked(shard), seed=plan.seed, progress=progress)
        table = sampled_table(groups, model=plan.policy_key, sampler=plan.sampler_key)
        return self.samples.write(shard, key, table)

    def scored(self, shard: int) -> Path:
        """Score a sampled shard, unless that lies there."""
        plan, key = self.plan, self.plan.score_key(shard)
        found = self.manifest.find(shard, key)
        if found is not None:
            return found
        table = parquet.read_table(self.sampled(shard))
        if self._scorer is None:
            self._scorer = plan.scorer.opened()
        verdicts = self._scorer(groups_of(table))
        return self.manifest.write(
            shard, key, scored_table(table, verdicts, scorer=plan.scorer_key)
        )

    def forget_faults(self) -> None:
        """Take shards out of the manifest in which something could not be scored."""
        for number, key in self.plan.keys.items():
            path = self.manifest.find(number, key)
            if path is None:
                continue
            if any(parquet.read_table(path, columns=["faults"]).column(0).to_pylist()):
                path.unlink()

    def forget_policy(self) -> None:
        """Let go of the sampler's model: a scorer may need the room."""
        self._sampler = None

    def shards(self) -> list[Path]:
        """The manifest, in order; all of it must be there."""
        found = [self.manifest.find(number, key) for number, key in self.plan.keys.items()]
        assert all(path is not None for path in found), "a shard is missing"
        return [path for path in found if path is not None]

    def cost(self) -> dict[str, float]:
        """What the scorer has spent since it was opened."""
        return {} if self._scorer is None else self._scorer.cost()
