"""The policy's responses through vLLM, for many prompts on a GPU (extra `vllm`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar

from truing.core.called import call_text
from truing.core.knobs import Count, Fraction, NonNegative
from truing.core.progress import SILENT, Progress
from truing.engine.models import load_tokenizer
from truing.errors import ConfigError
from truing.responses.groups import Asked, Group, Said
from truing.responses.samplers import OpenSampler, Sampler, prompt_ids


@dataclass(frozen=True, repr=False)
class Vllm(Sampler):
    """Sampling with vLLM; each prompt has a seed of its own.

    Its draws are not those of `generate`. They depend on the prompt and the seed as far as vLLM
    keeps to its seeds: its kernels may round differently in other company.

    Args:
        num_responses: K, of each prompt.
        temperature: divides the log-probs; 0 takes the likeliest token always.
        top_p: draw from the smallest set of likeliest tokens that holds this much probability.
        max_new_tokens: a response that has no end token by then is cut.
        devices: GPUs that the weights are split over.
        memory: share of each GPU's memory that vLLM may take.
    """

    word: ClassVar[str] = "vllm"
    num_responses: Count = 4  # type: ignore[assignment]
    temperature: NonNegative = 1.0
    top_p: Fraction = 1.0
    max_new_tokens: Count = 256
    devices: Count = 1
    memory: Fraction = 0.9

    @property
    def draws(self) -> bool:
        """See `Sampler`."""
        return self.temperature > 0

    def key(self) -> str:
        """See `Sampler`."""
        return call_text(self, "vllm 1")

    def opened(self, policy: str) -> OpenSampler:
        """See `Sampler`.

        Raises:
            ConfigError: vLLM is not installed.
        """
        try:
            from vllm import LLM  # type: ignore[import-not-found]
        except ImportError as error:
            raise ConfigError(
                "vLLM is not installed",
                where=repr(self),
                fix='pip install "truing[vllm]" on a machine with a GPU, or use generate(...)',
            ) from error
        model = LLM(
            model=policy,
            tensor_parallel_size=self.devices,
            gpu_memory_utilization=self.memory,
            enable_prefix_caching=True,
        )
        return _OpenVllm(self, model, load_tokenizer(policy))


class _OpenVllm(OpenSampler):
    def __init__(self, value: Vllm, model: Any, tokenizer: Any) -> None:
        self._value, self._model, self._tokenizer = value, model, tokenizer

    def __call__(
        self, prompts: Sequence[Asked], *, seed: int, progress: Progress = SILENT
    ) -> list[Group]:
        from vllm import SamplingParams  # type: ignore[import-not-found]

        value = self._value
        ids = [prompt_ids(self._tokenizer, prompt) for prompt in prompts]
        settings = [
            SamplingParams(
                n=value.num_responses,
                temperature=value.temperature,
                top_p=value.top_p,
                max_tokens=value.max_new_tokens,
                seed=_seed(seed, one),
            )
            for one in ids
        ]
        inputs = [{"prompt_token_ids": one} for one in ids]
        results = self._model.generate(inputs, settings, use_tqdm=False)
        groups = []
        with progress.task(total=len(prompts), description="sampling") as task:
            for prompt, result in zip(prompts, results, strict=True):
                said = tuple(
                    Said(one.text, len(one.token_ids), one.finish_reason == "stop")
                    for one in result.outputs
                )
                groups.append(Group(prompt, said))
                task.advance(value.num_responses)
        return groups


def _seed(seed: int, ids: Sequence[int]) -> int:
    digest = sha256(f"{seed}:{','.join(map(str, ids))}".encode()).digest()
    return int.from_bytes(digest[:4]) >> 1
