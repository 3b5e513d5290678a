"""Tiny random models of many families, on which every path is held against the padded one.

`truing doctor --engine` prints what the start-up probe says of each on the installed versions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

VOCABULARY = 61
# Wide enough that attention is far from uniform and a leak is far from rounding.
INITIAL_SPREAD = 0.3

_PLAIN = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
_WINDOW = {"sliding_window": 8}
_MIXED_LAYERS = {"layer_types": ["sliding_attention", "full_attention"]}
_EXPERTS = {"num_experts_per_tok": 2}
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "n_inner": 40}
_GPTJ = {**_GPT2, "rotary_dim": 4}


@dataclass(frozen=True)
class Architecture:
    """One family.

    Args:
        name: transformers' `model_type`, with a word behind it for a variant.
        settings: of its configuration.
        shares: whether its log-probs stay exact with shared prefixes.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    shares: bool = True

    @property
    def model_type(self) -> str:
        """Transformers' name of the family."""
        return self.name.split()[0]

    def build(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> PreTrainedModel:
        """A tiny model with random weights that depend on the seed alone, in evaluation mode."""
        tokens = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
        spread = {"initializer_range": INITIAL_SPREAD}
        config = AutoConfig.for_model(self.model_type, **{**tokens, **spread, **self.settings})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = AutoModelForCausalLM.from_config(config)
        return model.to(dtype).eval()


def _own(name: str, settings: Mapping[str, Any] | None = None, **more: Any) -> Architecture:
    return Architecture(name, {**_PLAIN, **(settings or {})}, **more)


ARCHITECTURES: tuple[Architecture, ...] = (
    _own("llama"),
    _own("llama tied", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
    _own("qwen2"),
    _own("qwen2 window", {**_WINDOW, "use_sliding_window": True, "max_window_layers": 1}),
    _own("qwen3", {"head_dim": 8}),
    _own("mistral", _WINDOW),
    _own("gemma", {"head_dim": 8}),
    _own("gemma2", {"head_dim": 8, **_WINDOW, "query_pre_attn_scalar": 8}),
    _own("gemma3_text", {"head_dim": 8, **_WINDOW, **_MIXED_LAYERS}),
    Architecture("gpt2", _GPT2),
    _own("gpt_neox"),
    Architecture("gpt_bigcode", {**_GPT2, "multi_query": True}),
    Architecture(
        "opt",
        {
            "hidden_size": 32,
            "ffn_dim": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
            "word_embed_proj_dim": 32,
        },
    ),
    _own("phi"),
    _own("phi3", _WINDOW),
    _own("olmo2"),
    _own("olmo3", {**_WINDOW, **_MIXED_LAYERS}),
    _own("smollm3"),
    _own("granite", {"logits_scaling": 3.0, "attention_multiplier": 0.2}),
    _own("starcoder2", _WINDOW),
    _own("glm4", {"head_dim": 8}),
    _own(
        "gpt_oss",
        {
            **_EXPERTS,
            **_WINDOW,
            **_MIXED_LAYERS,
            "head_dim": 8,
            "num_local_experts": 4,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
    ),
    _own("cohere", {"logit_scale": 0.3}),
    _own("cohere2", {**_WINDOW, **_MIXED_LAYERS, "logit_scale": 0.3}),
    _own("mixtral", {**_EXPERTS, "num_local_experts": 4}),
    _own(
        "qwen3_moe",
        {**_EXPERTS, "num_experts": 4, "moe_intermediate_size": 24, "head_dim": 8},
    ),
    _own(
        "deepseek_v3",
        {
            "num_key_value_heads": 4,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 12,
            "n_routed_experts": 4,
            "moe_intermediate_size": 24,
            "first_k_dense_replace": 1,
            "n_group": 2,
            "topk_group": 1,
            **_EXPERTS,
        },
    ),
    Architecture("gptj", _GPTJ, shares=False),
    Architecture("codegen", _GPTJ, shares=False),
    Architecture("bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4}, shares=False),
    Architecture("mpt", {"d_model": 32, "n_layers": 2, "n_heads": 4}, shares=False),
    _own("falcon", shares=False),
    _own("stablelm", shares=False),
    Architecture(
        "mamba", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}, shares=False
    ),
    Architecture(
        "mamba2",
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "state_size": 4,
            "num_heads": 8,
            "head_dim": 8,
            "n_groups": 2,
            "chunk_size": 8,
        },
        shares=False,
    ),
    _own("lfm2", {"layer_types": ["conv", "full_attention"]}, shares=False),
    _own(
        "qwen3_next",
        {
            "head_dim": 8,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "num_experts": 4,
            "moe_intermediate_size": 24,
            "shared_expert_intermediate_size": 24,
            **_EXPERTS,
        },
        shares=False,
    ),
    _own(
        "llama4_text",
        {
            "head_dim": 8,
            "attention_chunk_size": 8,
            "num_local_experts": 2,
            "intermediate_size_mlp": 40,
            "moe_layers": [],
        },
        shares=False,
    ),
)
