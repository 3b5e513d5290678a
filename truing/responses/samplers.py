"""Where responses come from: samplers as values.

generate(num_responses=4, temperature=0.8)      the model of transformers, here
vllm(num_responses=16)                          the same through vLLM (extra `vllm`)
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jinja2
import torch

from truing.core.called import Called, call_text
from truing.core.knobs import Count
from truing.core.progress import SILENT, Progress
from truing.engine.models import load_model, load_tokenizer
from truing.errors import ConfigError
from truing.responses.groups import Asked, Group, Said
from truing.responses.identity import weights_key
from truing.responses.sample import Response, Sampling, sample

# What a chat template raises for turns that it does not like.
TEMPLATE_FAULTS = (jinja2.TemplateError, TypeError, ValueError, KeyError)


class OpenSampler(ABC):
    """A sampler with its model at hand."""

    @abstractmethod
    def __call__(
        self, prompts: Sequence[Asked], *, seed: int, progress: Progress = SILENT
    ) -> list[Group]:
        """K responses to each prompt, in order; none where the prompt leaves no room for any.

        What a prompt gets depends on the seed and the prompt alone, not on its company.
        """


class Sampler(Called, ABC):
    """How responses are made: a value."""

    @property
    @abstractmethod
    def num_responses(self) -> int:
        """K of each prompt; 0 where it differs from prompt to prompt."""

    @property
    def draws(self) -> bool:
        """Whether a seed makes a difference."""
        return True

    @property
    def may_cut(self) -> bool:
        """Whether a response may end at a limit."""
        return True

    @abstractmethod
    def key(self) -> str:
        """Everything beside policy, prompt and seed that its responses depend on."""

    @abstractmethod
    def opened(self, policy: str) -> OpenSampler:
        """Load the policy."""


def policy_key(policy: str) -> str:
    """Which policy: a hash of its weights; "" for none."""
    return weights_key(policy) if policy else ""


@dataclass(frozen=True, repr=False)
class Generate(Sampler):
    """The policy's own responses, sampled with transformers (see `truing.responses.sample`).

    Args:
        num_responses: K, of each prompt.
        temperature: divides the log-probs; 0 takes the likeliest token always.
        top_p: draw from the smallest set of likeliest tokens that holds this much probability.
        top_k: draw from so many likeliest tokens; None: from all.
        max_new_tokens: a response that has no end token by then is cut.
        batch_size: responses drawn at a time; changes speed and memory alone.
    """

    word: ClassVar[str] = "generate"
    num_responses: Count = 4  # type: ignore[assignment]
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None
    max_new_tokens: Count = 256
    batch_size: Count = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sampling  # noqa: B018  (values without effect are refused here, not after an hour)

    @property
    def draws(self) -> bool:
        """See `Sampler`."""
        return self.temperature > 0

    @property
    def sampling(self) -> Sampling:
        """The same for `sample`."""
        return Sampling(
            self.num_responses, self.temperature, self.top_p, self.top_k, self.max_new_tokens
        )

    def key(self) -> str:
        """See `Sampler`."""
        return call_text(replace(self, batch_size=1), "generate 1")

    def opened(self, policy: str) -> OpenSampler:
        """See `Sampler`.

        Raises:
            ModelError: the policy cannot be loaded.
        """
        tokenizer = load_tokenizer(policy)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        model: Any = load_model(policy, dtype)
        return _Generating(self, model.to(device), tokenizer)


class _Generating(OpenSampler):
    def __init__(self, value: Generate, model: Any, tokenizer: Any) -> None:
        self._value, self._model, self._tokenizer = value, model, tokenizer

    def __call__(
        self, prompts: Sequence[Asked], *, seed: int, progress: Progress = SILENT
    ) -> list[Group]:
        ids = [prompt_ids(self._tokenizer, prompt) for prompt in prompts]
        limit = getattr(self._model.config, "max_position_embeddings", None)
        room = float("inf") if limit is None else limit - self._value.max_new_tokens
        fitting = [index for index, one in enumerate(ids) if len(one) <= room]
        drawn = sample(
            self._model,
            self._tokenizer,
            [ids[index] for index in fitting],
            sampling=self._value.sampling,
            seed=seed,
            batch_size=self._value.batch_size,
            progress=progress,
        )
        found = dict(zip(fitting, drawn, strict=True))
        return [
            Group(prompt, tuple(map(_said, found.get(index, ()))))
            for index, prompt in enumerate(prompts)
        ]


def _said(response: Response) -> Said:
    return Said(response.text, len(response.tokens), response.finished)


def prompt_ids(tokenizer: Any, prompt: Asked) -> list[int]:
    """Token ids of a prompt that is to be responded to: its template applied, nothing behind it.

    Plain text gets the tokenizer's begin token, where it has one, and no end token. Where nothing
    is left, the begin or else the end token stands alone.

    Raises:
        ConfigError: a conversation, and the tokenizer has no chat template, or one that refuses it.
    """
    end = tokenizer.eos_token_id
    if isinstance(prompt.speech, str):
        ids = list(tokenizer(prompt.speech).input_ids)
        while ids and ids[-1] == end:
            ids.pop()
        begin = tokenizer.bos_token_id
        return ids or [end if begin is None else begin]
    if not tokenizer.chat_template:
        raise ConfigError(
            "the prompts are conversations, and the tokenizer has no chat template",
            where=str(tokenizer.name_or_path),
            fix="give a policy with a chat template, or prompts of plain text",
        )
    import json

    try:
        text = tokenizer.apply_chat_template(
            [turn.to_dict() for turn in prompt.speech],
            tools=json.loads(prompt.tools) if prompt.tools else None,
            tokenize=False,
            add_generation_prompt=True,
        )
    except TEMPLATE_FAULTS as error:
        raise ConfigError(
            f"the chat template refuses the prompt {prompt.text[:60]!r}: {error}",
            where=str(tokenizer.name_or_path),
            fix="mend the order of its turns, or take a policy whose template takes them",
        ) from error
    return list(tokenizer(text, add_special_tokens=False).input_ids)
