"""Samplers and scorers as they are written in configurations and on the command line."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from truing.core.language import parse_as
from truing.responses.call import Python
from truing.responses.judge import Judge
from truing.responses.known import Given, World
from truing.responses.lexicon import Lexicon
from truing.responses.reward_model import RewardModel
from truing.responses.samplers import Generate, Sampler
from truing.responses.scorers import Ensemble, Normalised, Scorer
from truing.responses.vllm import Vllm

SAMPLERS: Mapping[str, Callable[..., Any]] = MappingProxyType({"generate": Generate, "vllm": Vllm})
SCORERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        kind.word: kind
        for kind in (RewardModel, Judge, Python, Lexicon, World, Given, Ensemble, Normalised)
    }
)


def parse_scorer(text: str) -> Scorer:
    """The scorer that an expression stands for.

    Raises:
        KnobError: it is no scorer expression.
    """
    return parse_as(text, SCORERS, Scorer, "scorer")


def parse_sampler(text: str, more: Mapping[str, Callable[..., Any]] | None = None) -> Sampler:
    """The sampler that an expression stands for.

    Args:
        text: the expression.
        more: further names that may be called.

    Raises:
        KnobError: it is no sampler expression.
    """
    return parse_as(text, {**SAMPLERS, **(more or {})}, Sampler, "sampler")
