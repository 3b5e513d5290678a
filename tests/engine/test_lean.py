"""The lean functions compute what the model's own do, and stand in for them only while packed."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from truing.engine import LOGPS_ONLY, PaddedEngine, SharedEngine
from truing.engine.architectures import ARCHITECTURES
from truing.engine.forward import causal_lm
from truing.engine.lean import ROWS, AdaptedLinear, GatedUnit, RootMeanSquare, Rotation
from truing.engine.rewrites import lean

from .rows import logps_and_gradients, random_rows, small_llama, widest_share

# peft asks transformers by a name that transformers is about to give up.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*lora_bias"),
]

EXACT = 1e-12
FLOAT32 = 1e-5
ZERO = 1e-6  # of a log-prob, whose own rounding is that of logits of some tens
BY_NAME = {architecture.name: architecture for architecture in ARCHITECTURES}
MODELS_ROWS = random_rows(3, [(12, (3, 11)), (11, (5, 2)), (3, (4, 9))], first=3)


def drawn(*shape):
    draw = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_()


def assert_same(found, expected, inputs):
    torch.testing.assert_close(found, expected, atol=EXACT, rtol=0)
    weight = torch.linspace(-1, 1, found.numel(), dtype=found.dtype).reshape(found.shape)
    one, other = (torch.autograd.grad((y * weight).sum(), inputs) for y in (found, expected))
    for gradient, wanted in zip(one, other, strict=True):
        torch.testing.assert_close(gradient, wanted, atol=EXACT, rtol=1e-10)


def test_the_norm():
    states, weight = drawn(2, 5, 6), drawn(6)
    expected = weight * states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + 1e-3)
    assert_same(RootMeanSquare.apply(states, weight, 1e-3), expected, [states, weight])


@pytest.mark.parametrize("rows", [1, ROWS - 1, 2 * ROWS + 3])
def test_the_gated_unit(rows):
    gate, up = drawn(1, rows, 4), drawn(1, rows, 4)
    expected = gate * torch.sigmoid(gate) * up
    assert_same(GatedUnit.apply(gate, up), expected, [gate, up])


def test_the_rotation():
    # Heads stand behind tokens in memory, as the models have them.
    states = drawn(1, 5, 3, 8)
    cosine, sine = drawn(1, 1, 5, 8).detach(), drawn(1, 1, 5, 8).detach() + 1
    seen = states.transpose(1, 2)
    turned = torch.cat([-seen[..., 4:], seen[..., :4]], dim=-1)
    expected = seen * cosine + turned * sine
    assert_same(Rotation.apply(seen, cosine, sine), expected, [states])


@pytest.mark.parametrize("has_bias", [True, False])
def test_the_adapted_layer(has_bias):
    states, weight, down, up = drawn(2, 3, 6), drawn(5, 6), drawn(2, 6), drawn(5, 2)
    bias = drawn(5).detach() if has_bias else None
    weight = weight.detach()
    expected = states @ weight.T + 1.5 * (states @ down.T @ up.T) + (bias if has_bias else 0)
    found = AdaptedLinear.apply(states, weight, bias, down, up, 1.5)
    assert_same(found, expected, [states, down, up])


# ------------------------------------------------------------------ in a model
def names_in(model):
    """What was put in place of what, while a block is open."""
    base = causal_lm(model)
    with lean(base):
        return {
            vars(module)["forward"].__func__.__name__
            for module in base.modules()
            if "forward" in vars(module) and module is not base
        }


def adapted(**settings):
    torch.manual_seed(1)
    model = get_peft_model(
        small_llama(), LoraConfig(r=3, target_modules=["q_proj", "down_proj"], **settings)
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_a_llama_is_rewritten_while_the_block_is_open_and_not_after():
    model = small_llama()
    assert names_in(model) == {"_norm_forward", "_gated_forward"}
    assert not any("forward" in vars(module) for module in model.modules())
    rotate = type(model.model.layers[0].self_attn).forward.__globals__["apply_rotary_pos_emb"]
    assert rotate.__name__ == "apply_rotary_pos_emb"


def test_adapters_are_rewritten_too():
    assert names_in(adapted()) == {"_norm_forward", "_gated_forward", "_adapted_forward"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gemma", set()),  # a weight plus one, a gate of another kind
        ("gpt2", set()),
        ("granite", {"_norm_forward"}),
        ("qwen3", {"_norm_forward", "_gated_forward"}),
    ],
)
def test_what_computes_something_else_is_left_alone(name, expected):
    assert names_in(BY_NAME[name].build()) & {"_norm_forward", "_gated_forward"} >= expected
    if not expected:
        assert names_in(BY_NAME[name].build()) == set()


@pytest.mark.parametrize("projection", ["down_proj", "gate_proj"])
def test_another_gate_is_seen_behind_a_projection_of_zeros(projection):
    model = BY_NAME["gemma"].build()
    with torch.no_grad():
        for layer in model.model.layers:
            getattr(layer.mlp, projection).weight.zero_()
    assert names_in(model) == set()


def test_float64_and_checkpointed_models_are_left_alone():
    assert names_in(small_llama().double()) == set()
    model = small_llama()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    assert names_in(model) == set()
    with torch.autocast("cpu", torch.bfloat16):
        assert names_in(small_llama()) == set()


def test_a_forward_that_somebody_replaced_is_left_alone():
    model = small_llama()
    calls = []
    norm = model.model.norm

    def counted(states):
        calls.append(1)
        return type(norm).forward(norm, states)

    norm.forward = counted
    SharedEngine(1000).logps(model, MODELS_ROWS, LOGPS_ONLY)
    assert calls == [1]
    assert norm.forward is counted


def test_an_error_inside_the_block_leaves_the_model_as_it_was():
    model = small_llama()
    with pytest.raises(KeyError), lean(model):
        raise KeyError
    assert not any("forward" in vars(module) for module in model.modules())


def test_adapters_that_are_off_stay_off():
    model = adapted()
    rows = MODELS_ROWS
    on = SharedEngine(1000).logps(model, rows, LOGPS_ONLY).logps.detach()
    with model.disable_adapter():
        off = SharedEngine(1000).logps(model, rows, LOGPS_ONLY).logps.detach()
    plain = PaddedEngine(1000).logps(small_llama(), rows, LOGPS_ONLY).logps.detach()
    torch.testing.assert_close(off, plain, atol=ZERO, rtol=FLOAT32)
    assert float((on - off).abs().max()) > 0.01


@pytest.mark.parametrize("settings", [{}, {"use_dora": True}, {"lora_bias": True}])
def test_every_kind_of_adapter_keeps_its_gradient(settings):
    model = adapted(**settings)
    expected, slopes = logps_and_gradients(PaddedEngine(1000), model, MODELS_ROWS, LOGPS_ONLY)
    found, found_slopes = logps_and_gradients(SharedEngine(1000), model, MODELS_ROWS, LOGPS_ONLY)
    torch.testing.assert_close(found.logps, expected.logps, atol=ZERO, rtol=FLOAT32)
    assert widest_share(found_slopes, slopes) < FLOAT32


@pytest.mark.parametrize("name", [one.name for one in ARCHITECTURES if one.shares])
def test_every_family_keeps_its_gradient_in_float32(name):
    model = BY_NAME[name].build()
    expected, slopes = logps_and_gradients(PaddedEngine(1000), model, MODELS_ROWS, LOGPS_ONLY)
    found, found_slopes = logps_and_gradients(SharedEngine(1000), model, MODELS_ROWS, LOGPS_ONLY)
    torch.testing.assert_close(found.logps, expected.logps, atol=ZERO, rtol=FLOAT32)
    if name == "opt":
        # What is added to all keys is added to all scores, and the softmax takes no notice: the
        # gradient of this bias is 0, and all that is there is rounding.
        largest = max(float(slope.abs().max()) for slope in slopes.values())
        for bias in [key for key in slopes if key.endswith("k_proj.bias")]:
            assert float(slopes.pop(bias).abs().max()) < FLOAT32 * largest
            assert float(found_slopes.pop(bias).abs().max()) < FLOAT32 * largest
    assert widest_share(found_slopes, slopes) < FLOAT32
