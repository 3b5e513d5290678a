"""From the run's settings to transformers' TrainingArguments, and the policy's adapters."""

import math
import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel, TrainingArguments

from truing.errors import ConfigError
from truing.training.launchers import refuse_unknown_ways
from truing.training.trackers import ToldArguments, refuse_missing_trackers

# Ours, though TrainingArguments has it: accelerate shards on no CPU, and hides the head.
SHARDING = "fsdp"
CHECKPOINTS_A_RUN = 10
DEFAULTS: Mapping[str, Any] = {
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "max_grad_norm": 1.0,
    "weight_decay": 0.0,
    "logging_steps": 1,
    "save_strategy": "steps",
    "save_total_limit": 2,
    "report_to": "none",
    # Every weight that is trained has a part in every step, and no buffer is trained.
    "ddp_find_unused_parameters": False,
    "ddp_broadcast_buffers": False,
}


def training_arguments(
    *,
    output: str,
    seed: int,
    learning_rate: float,
    epochs: float,
    rows_per_step: int,
    num_rows: int,
    autocast: torch.dtype | None,
    deterministic: bool,
    evaluate_every: int | None,
    best: tuple[str, bool] | None = None,
    given: Mapping[str, Any],
    own: Mapping[str, Any] | None = None,
) -> TrainingArguments:
    """The Trainer's arguments: ours, over the user's `trainer` block, over the defaults.

    `own` are the run's keys, which trackers are told beside them.

    Raises:
        ConfigError: `trainer` names a field that TrainingArguments has not, or a value it refuses;
            `best` (a measure, and whether more of it is better) where no evaluation takes place.
    """
    refuse_unknown_ways(given, os.environ)
    given = {key: value for key, value in given.items() if key != SHARDING}
    _refuse_unknown(given)
    refuse_missing_trackers(given.get("report_to"))
    # YAML reads a bare `no` as false.
    given = {k: "no" if k.endswith("_strategy") and v is False else v for k, v in given.items()}
    steps = math.ceil(epochs * math.ceil(num_rows / rows_per_step))
    chosen = {"save_steps": max(1, math.ceil(steps / CHECKPOINTS_A_RUN)), **DEFAULTS, **given}
    # Re-entrant checkpointing loses what is passed to the layers by keyword.
    for name in ("gradient_checkpointing", "activation_checkpointing"):
        if chosen.get(name):
            chosen.setdefault(f"{name}_kwargs", {"use_reentrant": False})
    ours = {
        "output_dir": output,
        "seed": seed,
        "learning_rate": learning_rate,
        "num_train_epochs": epochs,
        "per_device_train_batch_size": rows_per_step,
        "bf16": autocast is torch.bfloat16,
        "full_determinism": deterministic,
        "eval_strategy": "no" if evaluate_every is None else "steps",
        "eval_steps": evaluate_every,
        "logging_nan_inf_filter": False,
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "use_cpu": not torch.cuda.is_available(),
    }
    ours |= _keeping_best(best, evaluate_every, steps)
    try:
        return ToldArguments(**{**chosen, **ours}, own=dict(own or {}))
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"transformers refuses the `trainer` block ({str(error).splitlines()[0]})",
            where="configuration",
            fix="see the fields of TrainingArguments",
        ) from error


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    known = {field.name for field in fields(TrainingArguments)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ConfigError(
            f"unknown key `trainer.{unknown[0]}`",
            where="configuration",
            fix="the keys are the fields of transformers' TrainingArguments",
        )


def _keeping_best(
    best: tuple[str, bool] | None, evaluate_every: int | None, steps: int
) -> dict[str, Any]:
    """A checkpoint at each evaluation, the best of which is loaded at the end."""
    if best is None:
        return {}
    if (evaluate_every or 0) > steps:
        raise ConfigError(
            f"evaluation.best has no effect: the run has {steps} steps, and the first evaluation "
            f"would be after {evaluate_every}",
            where="configuration",
            fix=f"set evaluation.every={max(1, steps // 5)}, or leave evaluation.best out",
        )
    name, is_gain = best
    return {
        "load_best_model_at_end": True,
        "metric_for_best_model": f"eval_{name}",
        "greater_is_better": is_gain,
        "save_strategy": "steps",
        "save_steps": evaluate_every,
    }


def with_adapters(
    model: PreTrainedModel, *, rank: int, alpha: float, dropout: float, targets: str | list[str]
) -> Any:
    """The model with fresh low-rank adapters; everything else is frozen.

    Raises:
        ConfigError: no module of the model has such a name.
    """
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        lora_dropout=dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise ConfigError(
            f"`lora.targets`: {str(error).splitlines()[0]}",
            where="configuration",
            fix="name linear layers of the model, or take all-linear",
        ) from error
