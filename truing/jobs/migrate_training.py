"""The arguments that TRL and LLaMA-Factory share: those of transformers' TrainingArguments."""

from collections.abc import Mapping
from typing import Any

from truing.config import GOVERNED
from truing.jobs.migrate_arguments import Arguments
from truing.jobs.migrate_found import Found, number_of, whole_of

# Fields that Truing's trainer does not read, and what is there in their place.
_NOT_READ: Mapping[str, str] = {
    "use_liger_kernel": "nothing to set: Truing's engine has fused kernels of its own",
    "liger_kernel_config": "nothing to set: Truing's engine has fused kernels of its own",
    "neftune_noise_alpha": "noise on one side only would make log-ratios meaningless; no equal",
    "label_smoothing_factor": "nothing: preference losses do not read it (cdpo has epsilon)",
    "average_tokens_across_devices": "nothing to set: losses divide by the counts of the step",
    "dataloader_num_workers": "nothing to set: rows are tokenised once, before training",
    "dataloader_pin_memory": "nothing to set",
    "dataloader_persistent_workers": "nothing to set",
    "dataloader_prefetch_factor": "nothing to set",
    "dataloader_multiprocessing_context": "nothing to set",
    "length_column_name": "nothing to set: rows are packed by length within each step",
    "group_by_length": "nothing to set: rows are packed by length within each step",
    "use_cpu": "a GPU is used where there is one; CUDA_VISIBLE_DEVICES= hides it",
    "no_cuda": "a GPU is used where there is one; CUDA_VISIBLE_DEVICES= hides it",
    "prediction_loss_only": "nothing to set: evaluation.data gives preference measures",
    "batch_eval_metrics": "nothing to set: evaluation.data gives preference measures",
    "include_for_metrics": "nothing to set: evaluation.data gives preference measures",
    "do_train": "nothing to set: `truing train` trains",
    "do_predict": "`truing evaluate RUN --data ROWS` scores a finished run",
    "local_rank": "nothing to set: the launcher says it",
    "use_cache": "nothing to set",
}


def take_training(found: Found, defaults: Mapping[str, Any], devices: int) -> None:
    """Everything that TrainingArguments holds, as keys and as the `trainer` block.

    Args:
        found: what there is so far.
        defaults: the other trainer's, of the arguments that Truing has a default of its own for.
        devices: processes that each had a batch.
    """
    _take_step(found, defaults, devices)
    _take_numbers(found, defaults)
    _take_evaluation(found)
    _take_rest(found)


def _take_step(found: Found, defaults: Mapping[str, Any], devices: int) -> None:
    name = "per_device_train_batch_size"
    batch = number_of(found, name, found.take(name, defaults[name]))
    times = number_of(
        found,
        "gradient_accumulation_steps",
        found.take("gradient_accumulation_steps", 1, is_said=False),
    )
    found.keys["pairs_per_step"] = int(batch * times * devices)
    found.note(
        "changed",
        f"{name}={batch:g}, gradient_accumulation_steps={times:g}, devices={devices}",
        f"pairs_per_step: {int(batch * times * devices)}, of all devices together",
        "memory follows tokens_per_device, which changes no result",
    )
    for other in ("per_device_eval_batch_size", "eval_accumulation_steps", "auto_find_batch_size"):
        if found.arguments.has(other):
            value = found.arguments.take(other)
            found.note(
                "changed", f"{other}={value}", "memory is bounded by tokens, not rows",
                "set tokens_per_device where the default of 8192 is too much or too little",
            )  # fmt: skip


def _take_numbers(found: Found, defaults: Mapping[str, Any]) -> None:
    arguments, keys = found.arguments, found.keys
    rate = found.take("learning_rate", defaults["learning_rate"])
    keys["learning_rate"] = number_of(found, "learning_rate", rate)
    if not arguments.has("max_steps") or arguments.values["max_steps"] in {-1, 0}:
        arguments.take("max_steps")
        keys["epochs"] = number_of(found, "epochs", found.take("num_train_epochs", 3.0))
    else:
        arguments.take("num_train_epochs")
        found.trainer["max_steps"] = arguments.take("max_steps")
    keys["seed"] = whole_of(found, "seed", found.take("seed", 42))
    if arguments.has("data_seed"):
        value = arguments.take("data_seed")
        if value != keys["seed"]:
            found.note("no equal", f"data_seed={value}", "one seed orders the rows as well")
    if arguments.has("full_determinism"):
        keys["deterministic"] = bool(arguments.take("full_determinism"))
    _take_dtype(found, is_half=defaults["bf16"])
    _take_order(found)
    if arguments.has("warmup_ratio"):
        ratio = arguments.take("warmup_ratio")
        if ratio and arguments.values.get("warmup_steps"):
            found.note("no equal", f"warmup_ratio={ratio}", "warmup_steps goes before it")
        elif ratio:
            found.trainer["warmup_steps"] = ratio
            found.note(
                "changed", f"warmup_ratio={ratio}", "trainer.warmup_steps below 1 is a ratio"
            )


def _take_dtype(found: Found, *, is_half: bool) -> None:
    """The numbers of the products; `is_half`: bfloat16 where nothing was said there."""
    half, brain = found.arguments.take("fp16"), found.arguments.take("bf16")
    if half is None and brain is None and not is_half:
        brain = found.take("bf16", otherwise=False)
    if half:
        found.note(
            "no equal",
            "fp16=true",
            "float16 with loss scaling",
            "the run file has dtype: auto, bfloat16 on a GPU that has it",
        )
    elif brain is not None:
        found.keys["dtype"] = "bfloat16" if brain else "float32"


def _take_order(found: Found) -> None:
    if not found.arguments.has("train_sampling_strategy"):
        return
    value = found.arguments.take("train_sampling_strategy")
    found.keys["shuffle"] = value != "sequential"
    if value not in {"sequential", "random"}:
        found.note("no equal", f"train_sampling_strategy={value}", "rows are drawn at random")


def wants_evaluation(arguments: Arguments) -> bool:
    """Whether the other trainer scored held-out rows while it trained."""
    names = ("eval_strategy", "evaluation_strategy")
    return any(arguments.values.get(name) not in {None, "no", False} for name in names)


def _take_evaluation(found: Found) -> None:
    """How often the held-out rows are scored."""
    wanted = wants_evaluation(found.arguments)
    strategy = found.arguments.take("eval_strategy", found.arguments.take("evaluation_strategy"))
    steps, whether = found.arguments.take("eval_steps"), found.arguments.take("do_eval")
    held = found.keys.get("evaluation")
    if not wanted:
        for name, value in (("eval_steps", steps), ("do_eval", whether)):
            if value:
                fix = "set evaluation.data, and evaluation.every"
                what = "had no effect without eval_strategy"
                found.note("no equal", f"{name}={value}", what, fix)
        return
    every = steps or found.arguments.values.get("logging_steps")
    if held is None:
        found.note(
            "no equal",
            f"eval_strategy={strategy}",
            "held-out rows are not named",
            "set evaluation.data",
        )
        return
    if strategy == "steps" and isinstance(every, int) and every >= 1:
        held["every"] = every
    else:
        found.note(
            "no equal",
            f"eval_strategy={strategy}, eval_steps={every}",
            "held-out rows are scored at the end",
            "set evaluation.every to a number of optimizer steps",
        )


def _take_rest(found: Found) -> None:
    """What is left and is one of TrainingArguments goes into the trainer block as it is."""
    from dataclasses import fields

    from transformers import TrainingArguments

    known = {one.name for one in fields(TrainingArguments)}
    for name in list(found.arguments.values):
        if name in _NOT_READ or name in GOVERNED:
            value = found.arguments.take(name)
            what = _NOT_READ.get(name) or f"governed by {GOVERNED[name]}"
            found.note("no equal", f"{name}={value}", what)
        elif name in known:
            value = found.arguments.take(name)
            if value is not None:
                found.trainer[name] = value
