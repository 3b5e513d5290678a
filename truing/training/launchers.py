"""What a launcher may ask for: one process or several; other ways to split are refused."""

from collections.abc import Mapping
from typing import Any

from truing.errors import ConfigError


def refuse_unknown_ways(given: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Ways to split a model that Truing's steps do not fit.

    Args:
        given: the `trainer` block of the configuration.
        environment: of the process; `accelerate launch` says there what was configured.

    Raises:
        ConfigError: DeepSpeed, Megatron-LM, sharding or mixed precision that accelerate is to do,
            or batches that one process hands out.
    """
    if given.get("deepspeed") or _is_on(environment, "ACCELERATE_USE_DEEPSPEED"):
        # Its backward takes the optimizer's step, and one step here has many backwards.
        raise _refused("DeepSpeed is not supported", "trainer.deepspeed")
    if _is_on(environment, "ACCELERATE_USE_MEGATRON_LM"):
        raise _refused("Megatron-LM is not supported", "accelerate")
    if _is_on(environment, "ACCELERATE_USE_FSDP") or given.get("fsdp_config"):
        raise _refused("Truing shards the model by itself", "accelerate, trainer.fsdp_config")
    precision = environment.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if precision != "no":
        raise ConfigError(
            f"accelerate is to compute in {precision}, which `dtype` governs",
            where="accelerate, mixed_precision",
            fix="launch with --mixed_precision no and set dtype=bfloat16",
        )
    if not isinstance(given.get("fsdp", False), bool):
        raise _refused("is true or false", "trainer.fsdp")
    accelerator = given.get("accelerator_config") or {}
    for name in ("dispatch_batches", "split_batches"):
        if accelerator.get(name):
            raise ConfigError(
                f"{name} cuts packed rows in the middle",
                where="trainer.accelerator_config",
                fix="leave it out: every process takes its share of a step by itself",
            )


def _is_on(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "false").lower() in {"1", "true", "yes"}


def _refused(what: str, where: str) -> ConfigError:
    return ConfigError(
        what,
        where=where,
        fix="launch with torchrun or accelerate without it; where one device is too small, set "
        "trainer.fsdp=true (FSDP2)",
    )
