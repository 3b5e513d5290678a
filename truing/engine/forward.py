"""The packed forward of a causal language model, as the model's own forward.

It is installed on the model itself and called through whatever wraps it (adapters, data
parallelism, sharding), because only the wrapped root's forward has the weights at hand. Without a
`packed` argument the model behaves as before.
"""

import functools
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from truing.engine import attention
from truing.engine.fused import Head, HeadJob, head_logps, module_logps
from truing.engine.rewrites import lean
from truing.engine.tree import SegmentTree
from truing.errors import ModelError

# Where families keep what they do to the logits after the last matrix product.
SCALES = ("logit_scale", "lm_head_multiplier", "output_multiplier")
DIVISORS = ("logits_scaling",)
SOFTCAPS = ("final_logit_softcapping",)


@dataclass(frozen=True, eq=False)
class Packed:
    """What is asked of a packed row, handed through the model's forward.

    Args:
        tree: its segments.
        predictors: (U,) tokens whose hidden state predicts something.
        targets: (U,) the token that each predicts.
        job: what the head computes; None: only the hidden states of the predictors.
        with_hidden: give the hidden states beside the job's results.
    """

    tree: SegmentTree
    predictors: Int[Tensor, "U"]
    targets: Int[Tensor, "U"]
    job: HeadJob | None
    with_hidden: bool = False


def causal_lm(model: nn.Module) -> PreTrainedModel:
    """The language model under adapters and wrappers.

    Raises:
        ModelError: there is none, or its adapter adds tokens of its own.
    """
    found: Any = model
    while not isinstance(found, PreTrainedModel):
        config = getattr(found, "active_peft_config", None)
        if getattr(config, "is_prompt_learning", False):
            raise ModelError(
                "the adapter puts virtual tokens before the prompt, which a packed row has not",
                where=type(config).__name__,
                fix="use engine=padded, or LoRA",
            )
        inner = getattr(found, "_orig_mod", getattr(found, "module", None))
        if hasattr(found, "get_base_model"):
            inner = found.get_base_model()
        if not isinstance(inner, nn.Module):
            raise ModelError(
                "is no causal language model of transformers",
                where=type(model).__name__,
                fix="give a model that AutoModelForCausalLM loads",
            )
        found = inner
    return found


def use_own_attention(model: PreTrainedModel) -> bool:
    """Set the model to our attention function; False where its family has attention of its own."""
    if not model._can_set_attn_implementation():
        return False
    if model.config._attn_implementation != attention.NAME:
        model.set_attn_implementation(attention.NAME)
    return True


def install(model: nn.Module) -> PreTrainedModel:
    """Give the model under these wrappers the packed forward; a second call does nothing.

    Raises:
        ModelError: its family has attention code of its own.
    """
    base = causal_lm(model)
    if not use_own_attention(base):
        raise ModelError(
            "has attention code of its own, which takes no mask from us",
            where=type(base).__name__,
            fix="use engine=auto or engine=padded",
        )
    if not _is_installed(base):
        base.forward = MethodType(_packed_forward(base.forward), base)
    return base


def _is_installed(base: PreTrainedModel) -> bool:
    # Mixed precision wraps the forward once more, and takes its wrapper off again.
    forward: Any = base.forward
    while forward is not None:
        if getattr(forward, "takes_packed", False):
            return True
        forward = getattr(forward, "__wrapped__", None)
    return False


def _packed_forward(original: Any) -> Any:
    """The model's forward with one more keyword."""
    bound = getattr(original, "__func__", None)

    @functools.wraps(bound or original)
    def forward(self: Any, *args: Any, packed: Packed | None = None, **kwargs: Any) -> Any:
        if packed is not None:
            return run_packed(self, packed, kwargs["input_ids"], kwargs["position_ids"])
        # A copy of the model calls its own forward, not that of the model it was copied from.
        return bound(self, *args, **kwargs) if bound else original(*args, **kwargs)

    forward.takes_packed = True  # type: ignore[attr-defined]
    return forward


def run_packed(
    base: PreTrainedModel, packed: Packed, input_ids: Tensor, position_ids: Tensor
) -> dict[str, Tensor]:
    """Body, then head; a mapping, so that wrappers find the tensors in it.

    Returns:
        `logps` and each statistic, (U,) each; `hidden`, (U, D), where it is asked for or there is
        no job.
    """
    # A mask of four dimensions is handed through as it is; the tree is the mask.
    nothing = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=input_ids.device)
    with lean(base):
        states = body_of(base)(
            input_ids=input_ids,
            position_ids=position_ids,
            attention_mask=nothing,
            use_cache=False,
            **{attention.TREE: packed.tree},
        ).last_hidden_state
    hidden = states[0].index_select(0, packed.predictors)
    if packed.job is None:
        return {"hidden": hidden}
    head, module = head_of(base)
    if module is None:
        results = head_logps(hidden, head, packed.targets, packed.job)
    else:
        results = module_logps(module(hidden), head, packed.targets, packed.job)
    found = dict(zip(("logps", *packed.job.statistics), results, strict=True))
    return {**found, "hidden": hidden} if packed.with_hidden else found


def body_of(base: PreTrainedModel) -> Any:
    """The model without its head.

    Raises:
        ModelError: it has no such part.
    """
    body = base.base_model
    if body is base:
        body = getattr(base, "model", None)
    if body is None:
        raise ModelError(
            "has no body apart from its head",
            where=type(base).__name__,
            fix="use engine=auto or engine=padded",
        )
    return body


def head_of(base: PreTrainedModel) -> tuple[Head, nn.Module | None]:
    """The head as numbers; and the module itself where it is more than one matrix product."""
    module: Any = base.get_output_embeddings()
    config: Any = base.config.get_text_config()
    scale = 1.0
    for name in SCALES:
        scale *= getattr(config, name, None) or 1.0
    for name in DIVISORS:
        scale /= getattr(config, name, None) or 1.0
    caps = [cap for cap in (getattr(config, name, None) for name in SOFTCAPS) if cap]
    head = Head(
        module.weight, getattr(module, "bias", None), float(scale), caps[0] if caps else None
    )
    return head, None if _is_plain(module) else module


def _is_plain(module: nn.Module) -> bool:
    """Whether the head is its weight and bias and nothing else."""
    if type(module).forward is nn.Linear.forward:
        return True
    from peft.utils.other import AuxiliaryTrainingWrapper

    # Wrappers that train a copy of the head, or some of its rows, show the right weight; an
    # adapter on the head (LoRA) shows the frozen one.
    weight: Any = module.weight
    return isinstance(module, AuxiliaryTrainingWrapper) and weight.is_floating_point()
