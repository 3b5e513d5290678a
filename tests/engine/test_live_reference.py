"""The divergence from a reference that lives: its own head is read, whatever lies on it."""

from contextlib import contextmanager, nullcontext

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from truing.engine import PackedEngine, PaddedEngine, SharedEngine, Wanted
from truing.errors import ModelError
from truing.references.moving import MovingReference
from truing.references.policies import Ema

from .rows import logps_and_gradients, random_rows, small_llama, widest_share

# peft asks transformers by a name that transformers is about to give up.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

LOGPS, GRADIENTS = 1e-10, 1e-6
PADDED = PaddedEngine(100_000)
ENGINES = {
    "shared, head in tiles": SharedEngine(10_000, block=2, tile_elements=16 * 61, keep_bytes=0),
    "packed": PackedEngine(10_000),
}
ROWS = random_rows(2, [(4, (3, 6)), (1, (5, 1))])
HEADS = {
    "adapter": {"target_modules": ["lm_head", "q_proj"]},
    "adapter of directions": {"target_modules": ["lm_head", "q_proj"], "use_dora": True},
    "copy that learns": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "frozen": {"target_modules": ["q_proj"]},
}


def adapted(seed, head):
    model = get_peft_model(small_llama().double(), LoraConfig(r=3, **HEADS[head]))
    moved(model, seed)
    return model


def moved(model, seed):
    """All weights that learn, another way for each seed."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype)
                parameter.add_(0.3 * noise)


def assert_same_as_padded(engine, policy, live):
    wanted = Wanted(statistics=frozenset({"kl_pos", "entropy"}), live_reference=live)
    expected, slopes = logps_and_gradients(PADDED, policy, ROWS, wanted)
    found, found_slopes = logps_and_gradients(engine, policy, ROWS, wanted)
    assert float(expected.statistics["kl_pos"].detach().mean()) > 0.1
    for name in wanted.statistics:
        torch.testing.assert_close(
            found.statistics[name], expected.statistics[name], atol=LOGPS, rtol=0
        )
    assert widest_share(found_slopes, slopes) < GRADIENTS


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("head", HEADS)
def test_another_model_with_adapters_of_its_own(engine, head):
    policy, reference = adapted(1, head), adapted(2, head).requires_grad_(requires_grad=False)
    assert_same_as_padded(ENGINES[engine], policy, lambda: nullcontext(reference))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("head", HEADS)
def test_a_reference_that_follows_the_adapters(engine, head):
    policy = adapted(1, head)
    reference = MovingReference(Ema(decay=0.9, every=1), policy, has_adapters=True)
    moved(policy, 3)
    reference.update(1)
    assert_same_as_padded(ENGINES[engine], policy, reference.opened)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("head", HEADS)
def test_the_start_under_the_adapters(engine, head):
    policy = adapted(1, head)

    @contextmanager
    def adapters_off():
        with policy.disable_adapter():
            yield policy

    assert_same_as_padded(ENGINES[engine], policy, adapters_off)


def test_a_head_with_a_bias_and_an_adapter_is_read_whole():
    def with_bias(seed):
        model = small_llama().double()
        draw = torch.Generator().manual_seed(seed)
        model.lm_head.bias = nn.Parameter(torch.randn(61, generator=draw).double())
        model = get_peft_model(model, LoraConfig(r=3, target_modules=["lm_head"]))
        moved(model, seed)
        return model

    policy, reference = with_bias(1), with_bias(2)
    assert_same_as_padded(ENGINES["packed"], policy, lambda: nullcontext(reference))


def test_a_head_that_is_no_matrix_product_is_refused():
    class Bent(nn.Linear):
        def forward(self, states):
            return torch.tanh(super().forward(states))

    reference = small_llama().double()
    bent = Bent(16, 61, bias=False, dtype=torch.float64)
    reference.lm_head = bent
    wanted = Wanted(statistics=frozenset({"kl_pos"}), live_reference=lambda: nullcontext(reference))
    with pytest.raises(ModelError, match="no matrix product"):
        ENGINES["packed"].logps(small_llama().double(), ROWS, wanted)
