"""How much memory a training step takes, and how long, told before any weight is loaded.

Counted, not tried: what the engine keeps for the backward pass was measured with hooks on saved
tensors (Llama and Qwen 3 shapes) and is linear in tokens, layers and widths. The growth of memory
over the loaded model is told to within a quarter (`benchmarks/memory.py`).

h hidden width, i width of the gated unit, k width of keys and values, L layers, V vocabulary.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from truing.engine.fused import KEEP_BYTES, TILE_ELEMENTS
from truing.engine.logps import TokenRow
from truing.engine.padded import PaddedEngine

# Numbers kept a token and layer, in widths of hidden states, gated units and keys.
_PACKED, _PADDED = (6.0, 3.0, 2.0), (10.0, 4.0, 0.0)
_MOMENT = 3.0  # more of them a token, that the backward of one layer takes for a moment
_COPIES_OF_LOGITS = 4  # of a padded pass: log-probs, their gradient, that of logits, and its sum
# Bytes beside all that: code that training brings in, and what the allocator holds back.
_PROCESS = 150 * 2**20
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
        embedding: Any = model.get_input_embeddings()  # type: ignore[operator]
        rows, width = embedding.weight.shape
        hidden = getattr(text, "hidden_size", None) or width
        # State-space layers have no heads: what they carry along is about as wide as the state.
        heads = getattr(text, "num_attention_heads", None) or 1
        head = getattr(text, "head_dim", None) or hidden // heads
        return cls(
            weights=sum(p.numel() for p in model.parameters()),
            trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
            hidden=hidden,
            gated=getattr(text, "intermediate_size", None) or 4 * hidden,
            keys=head * (getattr(text, "num_key_value_heads", None) or heads),
            layers=getattr(text, "num_hidden_layers", None) or _longest_list(model),
            vocabulary=getattr(text, "vocab_size", None) or rows,
        )


def _longest_list(model: torch.nn.Module) -> int:
    """Layers of a model whose configuration does not count them under their usual name."""
    lists = (len(m) for m in model.modules() if isinstance(m, torch.nn.ModuleList))
    return max(lists, default=1)


@dataclass(frozen=True)
class Pass:
    """The largest forward and backward pass of a run.

    Args:
        tokens: that the model reads, padding included.
        predicted: positions whose logits are computed.
        weight_bytes: of one weight.
        product_bytes: of one number in the matrix products.
        is_padded: rows stand behind padding, and all logits of them are there at once.
        is_checkpointed: layers are computed again in the backward.
        is_one_of_many: the step has other passes, whose gradients are there already.
        resident: models without gradient that stay in memory beside the policy.
    """

    tokens: int
    predicted: int
    weight_bytes: int = 4
    product_bytes: int = 4
    is_padded: bool = False
    is_checkpointed: bool = False
    is_one_of_many: bool = False
    resident: int = 0


def size_of(engine: Any, rows: Sequence[TokenRow]) -> tuple[int, int]:
    """Tokens that the model reads in one pass over the rows, and positions it computes logits of.

    Args:
        engine: shared, packed or padded.
        rows: of one forward pass.
    """
    if isinstance(engine, PaddedEngine):
        width = max(len(row.prompt) + max(map(len, row.responses)) for row in rows)
        tokens = width * sum(len(row.responses) for row in rows)
        return tokens, tokens
    layout = engine.layout(rows)
    return layout.tree.num_tokens, len(np.unique(layout.response_tokens))


def memory(shape: Shape, largest: Pass) -> dict[str, int]:
    """Bytes by what they are for; their sum is the peak of a step."""
    casts = 0 if largest.product_bytes == largest.weight_bytes else largest.product_bytes
    resident = largest.weight_bytes + casts
    return {
        "weights": shape.weights * resident,
        "optimizer": shape.trained * _ADAM,
        "other models": largest.resident * shape.weights * resident,
        "process": 0 if torch.cuda.is_available() else _PROCESS,
        **_of_a_moment(shape, largest),
    }


def _of_a_moment(shape: Shape, largest: Pass) -> dict[str, int]:
    """Gradients, activations and log-probs at the moment in which they take most together.

    The head's backward, with all activations there, or the end of the backward, with all gradients.
    """
    gradients = shape.trained * largest.weight_bytes
    activations, logits = _activations(shape, largest), _log_probs(shape, largest)
    of_layer = int(_MOMENT * largest.tokens * (shape.hidden + shape.gated) * largest.product_bytes)
    of_head = min(shape.hidden * shape.vocabulary * largest.weight_bytes, gradients)
    if largest.is_one_of_many:
        # The head's gradient is added to that of the passes before.
        at_head = (gradients, activations, logits, of_head)
    else:
        at_head = (of_head, activations, logits, of_layer)
    at_end = (gradients, activations // max(shape.layers, 1), 0, of_layer)
    names = ("gradients", "activations", "log-probs", "backward")
    return dict(zip(names, max(at_head, at_end, key=sum), strict=True))


def _activations(shape: Shape, largest: Pass) -> int:
    """Bytes that the layers keep for their backward."""
    hidden, gated, keys = _PADDED if largest.is_padded else _PACKED
    of_layer = hidden * shape.hidden + gated * shape.gated + keys * shape.keys
    kept = shape.layers * of_layer
    if largest.is_checkpointed:
        kept = shape.layers * shape.hidden + of_layer
    return int(largest.tokens * kept * largest.product_bytes)


def _log_probs(shape: Shape, largest: Pass) -> int:
    """Bytes of logits and what is computed from them, at their most."""
    logits = largest.predicted * shape.vocabulary
    if largest.is_padded:
        return _COPIES_OF_LOGITS * logits * 4
    tile = 4 * max(TILE_ELEMENTS, 16 * shape.vocabulary)
    if shape.trained < shape.weights:
        # The head is frozen: the slope by the hidden states is all that is kept.
        return min(logits * 4, tile) + largest.predicted * shape.hidden * 4
    kept = logits * largest.product_bytes
    # What is not kept is computed again, tile by tile.
    return kept if kept <= KEEP_BYTES else tile


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
