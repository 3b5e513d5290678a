"""What would train wrongly in several processes is refused before a model loads."""

import pytest

from truing.errors import ConfigError
from truing.training.launchers import refuse_unknown_ways


@pytest.mark.parametrize(
    ("given", "environment", "word"),
    [
        ({"deepspeed": {"zero_optimization": {"stage": 3}}}, {}, "DeepSpeed"),
        ({}, {"ACCELERATE_USE_DEEPSPEED": "true"}, "DeepSpeed"),
        ({}, {"ACCELERATE_USE_MEGATRON_LM": "true"}, "Megatron"),
        ({"fsdp": True, "fsdp_config": {"fsdp_version": 1}}, {}, "shards the model by itself"),
        ({"fsdp": "full_shard"}, {}, "is true or false"),
        ({}, {"ACCELERATE_USE_FSDP": "true"}, "shards the model by itself"),
        ({}, {"ACCELERATE_MIXED_PRECISION": "bf16"}, "`dtype` governs"),
        ({"accelerator_config": {"dispatch_batches": True}}, {}, "dispatch_batches"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_way_out(given, environment, word):
    with pytest.raises(ConfigError, match=word) as caught:
        refuse_unknown_ways(given, environment)
    assert caught.value.fix


def test_data_parallelism_and_our_own_sharding_are_taken():
    refuse_unknown_ways({}, {"ACCELERATE_MIXED_PRECISION": "no"})
    refuse_unknown_ways({"fsdp": True}, {})
