"""How much memory a training step takes, and how long, told before any weight is loaded.

Counted, not tried: what the engine keeps for the backward pass was measured with hooks on saved
tensors (Llama and Qwen 3 shapes, shared engine) and is linear in tokens, layers and widths. The
forecast is good to about a third; a padded engine keeps up to twice as much.

h hidden width, i width of the gated unit, k width of keys and values, L layers, V vocabulary.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from truing.engine.fused import KEEP_BYTES

_OF_HIDDEN, _OF_GATED, _OF_KEYS = 7.0, 3.0, 2.0  # numbers kept a token and layer
_ADAM = 8  # bytes of a trained weight: two moments in float32
_BUSY = 0.55  # of the matrix products' own speed that a step reaches
_TRY_S = 0.15


@dataclass(frozen=True)
class Shape:
    """What of a model decides memory and time.

    Args:
        weights: parameters in all.
        trained: those that get a gradient.
        hidden: h.
        gated: i.
        keys: k.
        layers: L.
        vocabulary: V.
    """

    weights: int
    trained: int
    hidden: int
    gated: int
    keys: int
    layers: int
    vocabulary: int

    @classmethod
    def of(cls, model: torch.nn.Module, config: Any) -> "Shape":
        """The shape of a model, on the meta device or any other; `config` is transformers'."""
        text = config.get_text_config()
        heads = text.num_attention_heads
        hidden = text.hidden_size
        head = getattr(text, "head_dim", None) or hidden // heads
        return cls(
            weights=sum(p.numel() for p in model.parameters()),
            trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
            hidden=hidden,
            gated=getattr(text, "intermediate_size", None) or 4 * hidden,
            keys=head * (getattr(text, "num_key_value_heads", None) or heads),
            layers=text.num_hidden_layers,
            vocabulary=text.vocab_size,
        )


@dataclass(frozen=True)
class Pass:
    """The largest forward and backward pass of a run.

    Args:
        tokens: prompts and responses.
        response_tokens: those whose log-probs are wanted.
        weight_bytes: of one weight.
        product_bytes: of one number in the matrix products.
        is_checkpointed: layers are computed again in the backward.
        resident: models without gradient that stay in memory beside the policy.
    """

    tokens: int
    response_tokens: int
    weight_bytes: int = 4
    product_bytes: int = 4
    is_checkpointed: bool = False
    resident: int = 0


def memory(shape: Shape, largest: Pass) -> dict[str, int]:
    """Bytes by what they are for; their sum is the peak of a step."""
    of_layer = _OF_HIDDEN * shape.hidden + _OF_GATED * shape.gated + _OF_KEYS * shape.keys
    kept = shape.layers * of_layer
    if largest.is_checkpointed:
        kept = shape.layers * shape.hidden + of_layer
    logits = largest.response_tokens * shape.vocabulary * 4
    casts = 0 if largest.product_bytes == largest.weight_bytes else largest.product_bytes
    return {
        "weights": shape.weights * (largest.weight_bytes + casts),
        "gradients": shape.trained * largest.weight_bytes,
        "optimizer": shape.trained * _ADAM,
        "other models": largest.resident * shape.weights * (largest.weight_bytes + casts),
        "activations": int(largest.tokens * kept * largest.product_bytes),
        "log-probs": min(logits, KEEP_BYTES),
    }


@dataclass(frozen=True)
class Work:
    """Tokens of a whole run.

    Args:
        tokens: that are trained on, over all epochs.
        response_tokens: of these, those of responses.
        scored: that references and held-out rows take forward only.
    """

    tokens: int
    response_tokens: int
    scored: int = 0


def operations(shape: Shape, work: Work) -> float:
    """Multiplications and additions of a run: 2 a weight forward, 4 backward.

    A frozen weight has no gradient of its own: 2 backward. Source: Kaplan et al. 2020 (6 N D).
    """
    head = shape.hidden * shape.vocabulary
    body = max(shape.weights - head, 0)
    share = min(1.0, shape.trained / max(shape.weights, 1))
    backward = 2 + 2 * share
    return (
        (2 + backward) * (body * work.tokens + head * work.response_tokens)
        + 2 * body * work.scored
        + 2 * head * work.scored
    )


def seconds(shape: Shape, work: Work, dtype: torch.dtype) -> float:
    """Time of a run on this machine, by the speed of its matrix products now."""
    return operations(shape, work) / (_BUSY * products_per_second(shape, dtype))


def products_per_second(shape: Shape, dtype: torch.dtype) -> float:
    """Operations a second of a product as the model has them, the best of some moments."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    left = torch.ones(512, shape.hidden, dtype=dtype, device=device)
    right = torch.ones(shape.hidden, shape.gated, dtype=dtype, device=device)
    (left @ right).sum().item()
    best, ends = float("inf"), time.perf_counter() + _TRY_S
    while best == float("inf") or time.perf_counter() < ends:
        began = time.perf_counter()
        # One number is fetched, so that a GPU is waited for.
        (left @ right)[0, 0].item()
        best = min(best, time.perf_counter() - began)
    return 2 * 512 * shape.hidden * shape.gated / best


def available_bytes() -> int:
    """Memory that is free now, on the GPU where there is one."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    import psutil

    return int(psutil.virtual_memory().available)


def total(parts: Mapping[str, int]) -> int:
    """All of the parts."""
    return sum(parts.values())
