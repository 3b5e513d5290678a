"""What a run costs: its model built without weights, its rows packed, memory and time counted."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from truing.config import RunConfig
from truing.data import Example
from truing.engine import ENGINES
from truing.engine.adapters import base_of
from truing.engine.forecast import Pass, Shape, Work, available_bytes, memory, seconds, size_of
from truing.engine.models import choose_numerics, load_config
from truing.jobs.material import RunMaterial
from truing.references.policies import OtherModel, each, model_of, moving_of, standing
from truing.training.arguments import with_adapters

_MORE = 1.25  # how far off a forecast may be
_LOOKED_AT = 16  # steps


@dataclass(frozen=True)
class Cost:
    """Memory and time of a run.

    Args:
        steps: optimizer steps.
        weights: parameters in all.
        trained: those that get a gradient.
        memory: bytes by what they are for, at the peak of a step.
        available: bytes that are free on this machine now.
        seconds: of training, references and held-out rows, on this machine.
    """

    steps: int
    weights: int
    trained: int
    memory: Mapping[str, int]
    available: int
    seconds: float

    @property
    def peak(self) -> int:
        """Bytes in all."""
        return sum(self.memory.values())

    @property
    def fits(self) -> str:
        """`yes`, `hardly` (within what the forecast may be off) or `no`."""
        if self.peak > self.available:
            return "no"
        return "hardly" if self.peak * _MORE > self.available else "yes"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "steps": self.steps,
            "weights": self.weights,
            "trained": self.trained,
            "memory_bytes": dict(self.memory),
            "peak_bytes": self.peak,
            "available_bytes": self.available,
            "fits": self.fits,
            "seconds": round(self.seconds, 1),
        }


def cost_of(config: RunConfig, material: RunMaterial) -> Cost:
    """Forecast of a run whose data stands.

    Raises:
        ModelError: the model's configuration cannot be loaded.
        ConfigError: adapters that fit no module.
    """
    shape = _shape(config)
    numerics = choose_numerics(config.dtype)
    product = numerics.autocast or numerics.weights
    summary = material.summary
    tokens = int(config.epochs * (summary.prompt_tokens + summary.response_tokens))
    references = each(material.reference) if material.objective.needs.reference != "none" else ()
    passes = len(references) + (2 if material.objective.needs.couples == "batch" else 0)
    held = sum(len(row.prompt) + sum(map(len, row.responses)) for row in material.held)
    work = Work(
        tokens,
        int(config.epochs * summary.response_tokens),
        passes * tokens // max(1, round(config.epochs)) + 2 * held,
    )
    return Cost(
        steps=math.ceil(config.epochs * math.ceil(summary.rows / config.pairs_per_step)),
        weights=shape.weights,
        trained=shape.trained,
        memory=memory(shape, _largest(config, material, numerics.weights, product)),
        available=available_bytes(),
        seconds=seconds(shape, work, product),
    )


def memory_sentence(config: RunConfig, material: RunMaterial) -> str:
    """What a step will take at its peak, by what it is for, and what there is.

    Raises:
        ModelError: the model's configuration cannot be loaded.
        ConfigError: adapters that fit no module.
    """
    numerics = choose_numerics(config.dtype)
    product = numerics.autocast or numerics.weights
    parts = memory(_shape(config), _largest(config, material, numerics.weights, product))
    peak, there = sum(parts.values()), available_bytes()
    shown = ", ".join(f"{name} {_spoken(size)}" for name, size in parts.items() if size)
    doubt = " It may not fit: a smaller tokens_per_device takes less." * (peak > there)
    return f"memory of a step: about {_spoken(peak)} of {_spoken(there)} free ({shown}).{doubt}"


def _spoken(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _shape(config: RunConfig) -> Shape:
    """The model's, with its adapters, built without weights."""
    described = load_config(base_of(config.model))
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(described)
        if config.lora is not None:
            model = with_adapters(model, **config.lora.model_dump())
    return Shape.of(model, described)


def _largest(
    config: RunConfig, material: RunMaterial, weights: torch.dtype, product: torch.dtype
) -> Pass:
    """The fullest forward pass, and what stays in memory beside the policy."""
    engine = ENGINES[config.engine](config.tokens_per_device)
    passes = [
        (size_of(engine, [rows[i] for i in indices]), len(plan))
        for rows in _steps(material.examples, config.pairs_per_step)
        for plan in [engine.plan(rows)]
        for indices in plan
    ]
    (tokens, predicted), number = max(passes)
    given = config.trainer
    return Pass(
        tokens=tokens,
        predicted=predicted,
        weight_bytes=weights.itemsize,
        product_bytes=product.itemsize,
        is_checkpointed=bool(
            given.get("gradient_checkpointing") or given.get("activation_checkpointing")
        ),
        is_padded=config.engine == "padded",
        is_one_of_many=number > 1,
        # A reference is scored before the optimizer has its memory, and dropped.
        resident=int(_is_copy_beside(config, material)),
    )


def _steps(rows: Sequence[Example], rows_per_step: int) -> Iterator[Sequence[Example]]:
    """Some steps' rows, evenly over the files: the largest pass of a run is one of many."""
    count = math.ceil(len(rows) / rows_per_step)
    for step in np.unique(np.linspace(0, count - 1, min(count, _LOOKED_AT), dtype=int)).tolist():
        yield rows[step * rows_per_step : (step + 1) * rows_per_step]


def _is_copy_beside(config: RunConfig, material: RunMaterial) -> bool:
    """Whether a second model stays in memory: one that moves, or whose distribution is read.

    Under adapters the policy's start and what follows it are the policy's own weights.
    """
    if moving_of(material.reference) is not None:
        return config.lora is None
    if not material.objective.needs.live_reference:
        return False
    first = model_of(standing(material.reference)[0])
    return config.lora is None or isinstance(first, OtherModel)
