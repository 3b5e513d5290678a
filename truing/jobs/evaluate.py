"""`truing evaluate`: a finished run scored on held-out pairs."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from truing.config import RunConfig, build_config, read_config
from truing.core import Needs
from truing.core.progress import SILENT, Progress
from truing.engine import Engine, Wanted, choose_engine
from truing.engine.models import choose_numerics
from truing.errors import ConfigError, ResumeError
from truing.evaluation.pairs import evaluate_pairs
from truing.jobs.material import reader_of
from truing.jobs.policy import autocast, load_reference, load_trained
from truing.jobs.scoring import Scorer
from truing.recipes import parse
from truing.references.fill import fill
from truing.references.join import Rows
from truing.references.policies import each, parse_reference
from truing.training import folder


def evaluate(
    run: str | Path,
    data: str | None = None,
    *,
    rows: int | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Score held-out pairs with a finished run and its reference.

    Args:
        run: the folder of a finished run.
        data: held-out rows; None: those of the run's own `evaluation.data`.
        rows: only the first so many.
        progress: shows long work.

    Returns:
        Plain numbers: `reward_accuracy`, `policy_accuracy`, `margin`, `pairs` ..., with
        `NAME_low` and `NAME_high` beside them (95 % bootstrap intervals).

    Raises:
        TruingError: no finished run, no data, nothing to score.
    """
    run = Path(run)
    config = config_of(run)
    source = data or config.evaluation.data
    if source is None:
        raise ConfigError(
            "there are no held-out rows to score", where=str(run), fix="give --data HELD-OUT.jsonl"
        )
    reader = reader_of(config, run)
    examples = reader.read(source, Needs(), progress).examples[:rows]
    numerics = choose_numerics(config.dtype)
    objective = parse(config.objective)

    def in_numbers() -> AbstractContextManager[Any]:
        return autocast(numerics)

    def engine_for(model: Any) -> Engine:
        budget = config.tokens_per_device
        return choose_engine(config.engine, model, budget, examples[:8], in_numbers).engine

    values: list[list[np.ndarray]] = []
    for reference in each(parse_reference(config.reference)):
        model = load_reference(reference, config, len(reader.tokenizer), numerics)
        with in_numbers():
            values.append(fill(model, examples, engine_for(model), progress))
        del model
    policy = load_trained(run, numerics)
    wanted = Wanted(objective.needs.prompt)
    scorer = Scorer(objective, engine_for(policy), wanted)
    with in_numbers():
        table = scorer.table(policy, Rows(examples, values), progress)
    return {"run": str(run), "data": source, **evaluate_pairs(table).to_json()}


def config_of(run: Path) -> RunConfig:
    """The resolved configuration of a finished run.

    Raises:
        ResumeError: the folder holds no run, or one that has not ended.
    """
    if not (run / folder.CONFIG).is_file():
        raise ResumeError(
            "holds no run.yaml", where=str(run), fix="give the output folder of `truing train`"
        )
    if not (run / folder.FINISHED).exists():
        raise ResumeError(
            "this run has not ended", where=str(run), fix=f"truing train --resume {run}"
        )
    return build_config(read_config(run / folder.CONFIG), where=str(run / folder.CONFIG))
