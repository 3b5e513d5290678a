"""Rows and models that the tests of the engine share."""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM


@dataclass(frozen=True)
class Tokens:
    prompt: np.ndarray
    responses: tuple[np.ndarray, ...]


def tokens(prompt, *responses):
    return Tokens(np.array(prompt, np.int32), tuple(np.array(r, np.int32) for r in responses))


def random_rows(seed, shapes, vocabulary=61, first=0):
    """Rows of (prompt tokens, response lengths); all prompts share their `first` tokens."""
    draw = np.random.default_rng(seed)
    common = draw.integers(0, vocabulary, first)
    return [
        tokens(
            np.concatenate([common, draw.integers(0, vocabulary, prompt - first)]),
            *(draw.integers(0, vocabulary, length) for length in responses),
        )
        for prompt, responses in shapes
    ]


def small_llama(**settings):
    torch.manual_seed(0)
    config = LlamaConfig(
        **{
            "vocab_size": 61,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128,
            "initializer_range": 0.4,
            **settings,
        }
    )
    return LlamaForCausalLM(config).eval()


def weighted_loss(found):
    """A scalar in which every number of the result has a weight of its own."""
    parts = [found.logps, *(found.statistics[name] for name in sorted(found.statistics))]
    parts += [part.flatten() for part in (found.prompt, found.prompt_end) if part is not None]
    return sum((part * torch.linspace(-1.0, 2.0, len(part)).to(part)).sum() for part in parts)


def logps_and_gradients(engine, model, rows, wanted):
    """The log-probs, and the gradient of `weighted_loss` by each parameter that learns."""
    model.zero_grad()
    found = engine.logps(model, rows, wanted)
    weighted_loss(found).backward()
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return found, gradients


def widest_share(found, expected):
    """Largest difference of two sets of gradients, as a share of each parameter's largest."""
    assert found.keys() == expected.keys()
    floor = 1e-3 * max(float(one.abs().max()) for one in expected.values())
    return max(
        float((found[name] - one).abs().max()) / (float(one.abs().max()) + floor)
        for name, one in expected.items()
    )
