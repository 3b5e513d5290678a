"""Models that can be spoken to: a run, the start that it was trained from, any other model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from truing.config import RunConfig, build_config, read_config
from truing.core.progress import SILENT, Progress
from truing.data import Message
from truing.engine.adapters import load_merged
from truing.engine.models import Numerics, choose_numerics, load_tokenizer
from truing.errors import ConfigError, ResumeError
from truing.jobs.policy import autocast, load_start
from truing.responses import Response, Sampling, sample
from truing.responses.groups import Asked
from truing.responses.samplers import prompt_ids
from truing.responses.stream import stream
from truing.training import folder


@dataclass(frozen=True)
class Speaker:
    """A model with its tokenizer.

    Args:
        name: as it is called on the screen.
        model: in evaluation mode.
        tokenizer: with the chat template that the model was trained with.
        numerics: in which it computes.
    """

    name: str
    model: Any
    tokenizer: Any
    numerics: Numerics

    @property
    def has_template(self) -> bool:
        """Whether questions are written as turns of a conversation."""
        return bool(self.tokenizer.chat_template)

    def ids(self, prompt: Asked) -> list[int]:
        """The tokens of a prompt that is to be responded to."""
        return prompt_ids(self.tokenizer, prompt)

    def fitted(self, sampling: Sampling, ids: Sequence[int]) -> Sampling:
        """As many new tokens as were asked for, or as there is room for behind the prompt."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        if limit is None or len(ids) + sampling.max_new_tokens <= limit:
            return sampling
        return replace(sampling, max_new_tokens=max(1, limit - len(ids)))

    def say(self, prompt: Asked, sampling: Sampling, seed: int) -> Iterator[str | Response]:
        """Pieces of one response as they come, then the response.

        Raises:
            FitError: the prompt alone fills what the model can read.
        """
        ids = self.ids(prompt)
        sampling = self.fitted(sampling, ids)
        with autocast(self.numerics):
            yield from stream(self.model, self.tokenizer, ids, sampling=sampling, seed=seed)

    def respond(
        self,
        prompts: Sequence[Asked],
        sampling: Sampling,
        seed: int,
        progress: Progress = SILENT,
    ) -> list[list[Response]]:
        """K responses to each prompt.

        Raises:
            FitError: a prompt and its new tokens are longer than the model can read.
        """
        with autocast(self.numerics):
            return sample(
                self.model,
                self.tokenizer,
                [self.ids(prompt) for prompt in prompts],
                sampling=sampling,
                seed=seed,
                batch_size=64,
                progress=progress,
                description=f"{self.name} responds",
            )


def asked(question: str, *, as_turn: bool, history: Sequence[Message] = ()) -> Asked:
    """A question as a turn behind earlier ones, or as plain text that is gone on from."""
    return Asked((*history, Message("user", question))) if as_turn else Asked(question)


def open_speaker(path: str, *, dtype: str = "auto") -> Speaker:
    """A run folder, another model folder, or a hub name.

    Raises:
        ModelError: it cannot be loaded.
        ResumeError: the run has not ended.
    """
    if (Path(path) / folder.CONFIG).is_file() and not (Path(path) / folder.FINISHED).exists():
        raise ResumeError("this run has not ended", where=path, fix=f"truing train --resume {path}")
    numerics = choose_numerics(dtype)
    tokenizer = load_tokenizer(path)
    model: Any = load_merged(path, numerics.weights)
    return Speaker(Path(path).name or path, model.eval().to(numerics.device), tokenizer, numerics)


def open_start(path: str, *, dtype: str = "auto") -> Speaker:
    """What a run was trained from, with the run's tokenizer.

    Raises:
        ConfigError: `path` is no run.
        ModelError: the start cannot be loaded.
    """
    config = run_config(path)
    numerics = choose_numerics(dtype)
    tokenizer = load_tokenizer(path)
    model = load_start(config.model, config, len(tokenizer), numerics)
    model.config.use_cache = True
    return Speaker("start", model.eval(), tokenizer, numerics)


def run_config(path: str | Path) -> RunConfig:
    """The resolved configuration of a run.

    Raises:
        ConfigError: the folder is no run.
    """
    file = Path(path) / folder.CONFIG
    if not file.is_file():
        raise ConfigError(
            "holds no run.yaml, so its start is not known",
            where=str(path),
            fix="give the output folder of `truing train`, or name the other model: --compare",
        )
    return build_config(read_config(file), where=str(file))
