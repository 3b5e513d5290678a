"""No noise in a model that is compared with its reference token by token."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import PreTrainedConfig

from truing.engine.forward import causal_lm
from truing.errors import ModelError

# Logits of two equal passes differ by rounding alone, and on a CPU not even by that.
NOISE = 1e-3
# What configurations said before: it is what they say again where the model is saved.
_SAID: WeakKeyDictionary[nn.Module, list[tuple[PreTrainedConfig, str, float]]]
_SAID = WeakKeyDictionary()


def without_dropout(model: nn.Module) -> bool:
    """Set every dropout of the model to 0; True where there was one.

    Preference training compares the policy with its reference token by token; noise on one side
    only would be a log-ratio that means nothing. Some layers ask their configuration at each step,
    so it is set there too; `said_before` gives it back for saving.
    """
    found = False
    configs: dict[int, PreTrainedConfig] = {}
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            found |= module.p > 0
            module.p = 0.0
        for name, _ in _rates(module):
            found = True
            setattr(module, name, 0.0)
        config = getattr(module, "config", None)
        if isinstance(config, PreTrainedConfig):
            configs[id(config)] = config
    said = [(config, *rate) for config in configs.values() for rate in _rates(config)]
    for config, name, _ in said:
        setattr(config, name, 0.0)
    if said:
        _SAID[model] = [*_SAID.get(model, []), *said]
    return found or bool(said)


def _rates(owner: Any) -> list[tuple[str, float]]:
    """Attributes that are rates of some dropout, and not 0."""
    return [
        (name, value)
        for name, value in vars(owner).items()
        if "drop" in name.lower() and isinstance(value, float) and value
    ]


@contextmanager
def said_before(model: nn.Module) -> Iterator[None]:
    """A block in which the configuration says what it said when the model was loaded."""
    said = _SAID.get(causal_lm(model), [])
    for config, name, value in said:
        setattr(config, name, value)
    try:
        yield
    finally:
        for config, name, _ in said:
            setattr(config, name, 0.0)


def refuse_noise(model: nn.Module) -> None:
    """Two passes in training give the same numbers.

    Raises:
        ModelError: they do not.
    """
    base = causal_lm(model)
    device, size = next(base.parameters()).device, base.config.get_text_config().vocab_size
    ids = (torch.arange(8, device=device) % size)[None]
    was_training = model.training
    model.train()
    try:
        with torch.no_grad():
            one, other = (
                base(input_ids=ids, use_cache=False, attention_mask=torch.ones_like(ids)).logits
                for _ in range(2)
            )
    finally:
        model.train(was_training)
    # NaN in the weights is told elsewhere, by the row that meets it.
    if float((one - other).abs().nan_to_num().max()) > NOISE:
        raise ModelError(
            "draws noise while it trains, other than dropout: its log-probs are never the same "
            "twice, and a log-ratio to a reference would mean nothing",
            where=type(base).__name__,
            fix="set the noise to 0 in its config.json (router_jitter_noise, input_jitter_noise), "
            "or take a family without it",
        )
