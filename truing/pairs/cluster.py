"""The same stages on several processes or machines: Ray Data maps them over the shards.

Every worker writes whole shards into the output folder, which all of them must see.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from truing.errors import ConfigError
from truing.pairs.build import Plan, Stages


class Worker:
    """One process of the cluster, with its own models."""

    def __init__(self, plan: Plan, output: str) -> None:
        self._stages = Stages(plan, Path(output))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Sample and score one shard."""
        before = self._stages.cost()
        self._stages.scored(int(row["shard"]))
        spent = {name: value - before.get(name, 0.0) for name, value in self._stages.cost().items()}
        return {"shard": int(row["shard"]), "cost": json.dumps(spent)}


def on_ray(
    plan: Plan, output: Path, missing: Sequence[int], *, workers: int, done: Callable[[int], None]
) -> dict[str, float]:
    """Finish the missing shards on a Ray cluster; what the scorers have spent.

    The cluster is the one that the environment variable RAY_ADDRESS names, else one on this
    machine with as many processes as workers.

    Args:
        plan: what is built.
        output: a folder that every machine sees.
        missing: numbers of shards.
        workers: processes, each with its own copy of the models.
        done: told of each shard that is finished.

    Raises:
        ConfigError: Ray is not installed.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.data  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError(
            "Ray is not installed", where="--workers", fix='pip install "truing[ray]"'
        ) from error
    spent: Counter[str] = Counter()
    was_running = ray.is_initialized()
    if not was_running:
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        shards = ray.data.from_items([{"shard": number} for number in missing])
        worker: Any = Worker  # a class is mapped with, made once in each process
        results = shards.map(
            worker, fn_constructor_args=(plan, str(output.resolve())), concurrency=workers
        )
        for row in results.iter_rows():
            spent.update(json.loads(row["cost"]))
            done(int(row["shard"]))
    finally:
        if not was_running:
            ray.shutdown()
    return dict(spent)
