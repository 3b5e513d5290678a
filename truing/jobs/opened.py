"""A finished run with its models at hand, loaded when they are first asked for."""

from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

from truing.config import RunConfig, build_config, read_config
from truing.core.progress import SILENT
from truing.data import Example, widest
from truing.engine import Engine, choose_engine
from truing.engine.models import Numerics, choose_numerics
from truing.errors import ResumeError
from truing.jobs.asking import Asking
from truing.jobs.material import Reader, reader_of
from truing.jobs.policy import autocast, load_start, load_trained
from truing.jobs.reference_pass import ReferencePass
from truing.jobs.scores import score_key
from truing.objectives import Objective
from truing.pairs.existing import content_key
from truing.pairs.prompts import is_world
from truing.recipes import parse
from truing.references.policies import (
    OtherModel,
    PolicyStart,
    model_of,
    parse_reference,
    standing,
)
from truing.training import folder


class OpenRun:
    """What evaluation needs of a run.

    Raises:
        ResumeError: the folder holds no run, or one that has not ended.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.config: RunConfig = config_of(run)
        self.numerics: Numerics = choose_numerics(self.config.dtype)

    @cached_property
    def reader(self) -> Reader:
        """Reads rows as the run read them."""
        return reader_of(self.config, self.run)

    @cached_property
    def objective(self) -> Objective:
        """What was trained."""
        return parse(self.config.objective)

    @cached_property
    def policy(self) -> Any:
        """The trained policy."""
        model = load_trained(self.run, self.numerics)
        model.eval()
        return model

    @cached_property
    def _passes(self) -> ReferencePass:
        needs = self.objective.needs
        return ReferencePass(self.config, self.reader, needs, self.numerics, SILENT)

    @property
    def references(self) -> tuple[PolicyStart | OtherModel, ...]:
        """Models that read what the policy writes; a moving one counts as the start it moved from.

        One with a tokenizer of its own cannot score tokens that the policy sampled.
        """
        given = standing(parse_reference(self.config.reference))
        return tuple(model_of(one) for one in given if not self._passes.has_own_tokens(one))

    def load(self, reference: PolicyStart | OtherModel) -> Any:
        """A reference model by itself; the caller drops it."""
        if isinstance(reference, OtherModel):
            return self._passes.loaded(reference)
        tokens = len(self.reader.tokenizer)
        model = load_start(self.config.model, self.config, tokens, self.numerics)
        model.eval()
        return model

    def start(self) -> Any:
        """The policy as it was before the first step."""
        return self.load(PolicyStart())

    def settings_of(self, asking: Asking) -> dict[str, Any]:
        """What the responses to this depend on; equal settings, equal responses."""
        content = "" if is_world(asking.prompts) else content_key(asking.prompts)
        score = "" if asking.score is None else score_key(asking.score)
        marks = {"weights": self._weights, "content": f"{content} {score}".strip()}
        return {**asking.settings(), **marks}

    def marks_of(self, source: str, rows: int | None) -> str:
        """What the numbers of held-out rows depend on; equal marks, equal numbers."""
        return f"{self._weights} {content_key(source)} {rows or 'all'}"

    @property
    def _weights(self) -> str:
        weights = [path.stat() for path in sorted(self.run.glob("*.safetensors"))]
        return " ".join(f"{one.st_size}:{one.st_mtime_ns}" for one in weights)

    def in_numbers(self) -> AbstractContextManager[Any]:
        """A block that computes in the run's numbers."""
        return autocast(self.numerics)

    def engine_for(self, model: Any, examples: list[Example]) -> Engine:
        """An engine that is exact on this model."""
        budget = self.config.tokens_per_device
        return choose_engine(
            self.config.engine, model, budget, widest(examples), self.in_numbers
        ).engine


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
