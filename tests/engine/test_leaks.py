"""No token of one response reaches another, in families that look at their past in many ways."""

import pytest
import torch

from truing.engine import LOGPS_ONLY, PackedEngine, SharedEngine
from truing.engine.architectures import ARCHITECTURES

from .rows import random_rows

ENGINES = {"shared": SharedEngine(10_000, block=2), "packed": PackedEngine(10_000)}
BY_NAME = {architecture.name: architecture for architecture in ARCHITECTURES}
# A window of 8 tokens, layers of two kinds, scores that are capped, sinks.
TO_THE_BIT = ["llama", "mistral", "gemma2", "gemma3_text", "gpt2"]
# A token that is routed elsewhere changes the shapes of the products of its experts.
UP_TO_ROUNDING = ["mixtral", "qwen3_moe", "gpt_oss", "deepseek_v3"]
ROUNDING = 1e-12


def gaps(engine, model):
    """For each token changed: how far the other responses moved, and how far its own."""
    rows = random_rows(8, [(12, (9, 7, 5)), (12, (6, 8))], first=6)
    before = engine.logps(model, rows, LOGPS_ONLY)
    places = [
        (response, at)
        for row in rows
        for response in row.responses
        for at in (0, len(response) - 1)
    ]
    for step, (response, at) in enumerate(places):
        kept = response[at]
        response[at] = (kept + 1) % 61
        after = engine.logps(model, rows, LOGPS_ONLY)
        response[at] = kept
        moved = (after.logps - before.logps).abs()
        is_own = before.response == step // 2
        yield float(moved[~is_own].max()), float(moved[is_own].max())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", TO_THE_BIT)
@torch.no_grad()
def test_a_changed_token_changes_no_other_response_at_all(name, dtype, engine):
    for others, own in gaps(ENGINES[engine], BY_NAME[name].build(dtype)):
        assert others == 0.0
        assert own > 0.0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", UP_TO_ROUNDING)
@torch.no_grad()
def test_with_experts_a_changed_token_changes_others_by_rounding_alone(name, engine):
    model = BY_NAME[name].build(torch.float64)
    model.set_experts_implementation("eager")
    for others, own in gaps(ENGINES[engine], model):
        assert others < ROUNDING
        assert own > 1e6 * ROUNDING
