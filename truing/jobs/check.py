"""`truing check`: everything that is wrong with a run, what it needs, and what it will cost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from truing.config import RunConfig, build_config
from truing.core.needs import Needs
from truing.core.progress import SILENT, Progress
from truing.data.sources import open_sources
from truing.engine.adapters import base_of
from truing.engine.models import choose_numerics, load_config
from truing.errors import ConfigError, ModelError, TruingError
from truing.jobs.check_cost import Cost, cost_of
from truing.jobs.material import RunMaterial, gather, reader_of, refuse_unmet
from truing.jobs.rounds import check_rounds
from truing.jobs.run_references import RunReferences
from truing.objectives import Objective
from truing.recipes import parse
from truing.references.policies import Reference, parse_reference
from truing.training import folder
from truing.training.arguments import training_arguments

T = TypeVar("T")

# Stand for the keys that every run must have, while another key is looked at.
_REQUIRED = {"model": "model", "data": "data", "output": "output"}


@dataclass(frozen=True)
class CheckReport:
    """What was found.

    Args:
        faults: everything that would stop the run, in the order of the way of the data.
        needs: what the objective needs, each in words.
        facts: what the run is, by name: rows, steps, tokens, model.
        notes: what was decided for the user or left out of the data.
        cost: memory and time; None where something is missing for it.
    """

    faults: tuple[TruingError, ...]
    needs: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    cost: Cost | None = None

    @property
    def exit_code(self) -> int:
        """1 where the run would not start."""
        return 1 if self.faults else 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "good": not self.faults,
            "faults": [
                {"what": one.what, "where": one.where, "fix": one.fix} for one in self.faults
            ],
            "needs": list(self.needs),
            "facts": dict(self.facts),
            "notes": list(self.notes),
            "cost": None if self.cost is None else self.cost.to_json(),
        }


@dataclass
class _Faults:
    """What went wrong, each thing once."""

    found: list[TruingError] = field(default_factory=list)

    def of(self, step: Callable[[], T]) -> T | None:
        """The step's value, or None and one fault more."""
        try:
            return step()
        except TruingError as error:
            if str(error) not in map(str, self.found):
                self.found.append(error)
            return None


def check(values: Mapping[str, Any], *, progress: Progress = SILENT) -> CheckReport:
    """Look at a configuration as a run would, and load no weights.

    Args:
        values: the keys of `train`, as a recipe file holds them.
        progress: shows the reading of the data.
    """
    faults = _Faults()
    config, absent = _config(values, faults)
    objective = faults.of(lambda: parse(config.objective))
    reference = faults.of(lambda: parse_reference(config.reference))
    if objective is not None and reference is not None:
        faults.of(lambda: refuse_unmet(objective.needs, reference, config))
    faults.of(lambda: _arguments(config))
    if "output" not in absent:
        faults.of(lambda: _output(config))
    if "model" not in absent:
        faults.of(lambda: _model(config))
        faults.of(lambda: reader_of(config))
    rounds = config.rounds
    if rounds is not None:
        faults.of(lambda: check_rounds(rounds))
    material = None
    if not absent & {"model", "data"}:
        material = _material(config, objective, faults, progress)
    cost = None
    if material is not None:
        if rounds is None:
            faults.of(lambda: _references(config, material, progress))
        cost = faults.of(lambda: cost_of(config, material))
    return CheckReport(
        tuple(faults.found),
        () if objective is None else objective.needs.sentences(),
        _facts(config, reference, material, cost),
        () if material is None else material.summary.notes,
        cost,
    )


def _config(values: Mapping[str, Any], faults: _Faults) -> tuple[RunConfig, set[str]]:
    """The configuration of all keys that go together, and which required ones are not there.

    Keys are taken up one by one, so that a wrong one hides no other.
    """
    rounds = values.get("rounds")
    makes_pairs = isinstance(rounds, Mapping) and rounds.get("prompts") is not None
    required = {key: _REQUIRED[key] for key in _REQUIRED if key != "data" or not makes_pairs}
    good, left = dict(required), dict(values)
    taken = True
    while taken:
        # A key that needs another is taken up once that one is there.
        taken = [key for key, value in left.items() if _fault({**good, key: value}) is None]
        good |= {key: left.pop(key) for key in taken[:1]}
    for key, value in left.items():
        fault = _fault({**good, key: value})
        faults.found += [] if fault is None else [fault]
    for key in [key for key in required if key not in values]:
        faults.found.append(
            ConfigError(f"`{key}` is missing", where="configuration", fix=f"give `{key}`")
        )
    return build_config(good), {key for key in _REQUIRED if key in left or key not in values}


def _fault(values: Mapping[str, Any]) -> ConfigError | None:
    try:
        build_config(values)
    except ConfigError as error:
        return error
    return None


def _output(config: RunConfig) -> None:
    folder.refuse_used(Path(config.output))


def _arguments(config: RunConfig) -> None:
    training_arguments(
        output=config.output,
        seed=config.seed,
        learning_rate=config.rate,
        epochs=config.epochs,
        rows_per_step=config.pairs_per_step,
        num_rows=1,
        autocast=None,
        deterministic=False,
        evaluate_every=config.evaluation.every,
        given=config.trainer,
    )


def _model(config: RunConfig) -> None:
    base = Path(base_of(config.model))
    load_config(str(base))
    if base.is_dir() and not any(base.glob("*.safetensors")):
        raise ModelError(
            "holds a configuration and no weights",
            where=str(base),
            fix="give a folder with *.safetensors",
        )


def _references(config: RunConfig, material: RunMaterial, progress: Progress) -> None:
    RunReferences(config, material, choose_numerics(config.dtype), progress).check()


def _material(
    config: RunConfig, objective: Objective | None, faults: _Faults, progress: Progress
) -> RunMaterial | None:
    """The rows; where they cannot all be had, whatever is wrong with each of the files."""
    before = len(faults.found)
    if objective is not None:
        found = faults.of(lambda: gather(config, progress, strict=False, skip_bad=None))
        if found is not None:
            return found
    needs = Needs() if objective is None else objective.needs
    sources = dict.fromkeys(config.data_paths, needs)
    if config.evaluation.data is not None:
        sources[config.evaluation.data] = Needs()
    reader = _Faults().of(lambda: reader_of(config))
    if reader is None:
        for path in sources:
            faults.of(lambda path=path: list(open_sources(path)))
        return None
    if len(faults.found) - before <= 1:
        for path, wanted in sources.items():
            faults.of(
                lambda path=path, wanted=wanted: reader.read(
                    path, wanted, SILENT, are_texts=config.texts
                )
            )
    return None


def _facts(
    config: RunConfig, reference: Reference | None, material: RunMaterial | None, cost: Cost | None
) -> dict[str, str]:
    facts = {"model": config.model, "objective": config.objective}
    if reference is not None and not config.texts:
        facts["reference"] = repr(reference)
    if material is None:
        return facts
    summary = material.summary
    heads = sorted(material.objective.needs.heads)
    facts |= {
        "layout": ", ".join(f"{layout} ({path})" for path, layout in summary.layouts.items()),
        "rows": f"{summary.rows:,} of {summary.rows_read:,} read",
        "pairs": f"{summary.pairs:,}",
        "tokens an epoch": f"{summary.prompt_tokens + summary.response_tokens:,}",
        "longest row": f"{summary.longest:,} of at most {material.reader.max_length:,} tokens",
        "held-out rows": f"{len(material.held):,}",
        "heads": ", ".join(heads),
    }
    if cost is not None:
        facts["steps"] = f"{cost.steps:,} of {config.pairs_per_step} rows"
        facts["weights"] = f"{cost.weights:,}, trained {cost.trained:,}"
    return {name: value for name, value in facts.items() if value not in {"", "0"}}
