"""Every family of models: exact where the probe says so, and refused where it is not."""

import pytest
import torch

from truing.engine import LOGPS_ONLY, PackedEngine, PaddedEngine, SharedEngine
from truing.engine.architectures import ARCHITECTURES
from truing.engine.choose import choose_engine
from truing.engine.forward import use_own_attention
from truing.engine.probe import fault_of
from truing.errors import ModelError

from .rows import logps_and_gradients, random_rows, small_llama, widest_share

EXACT = [one for one in ARCHITECTURES if one.shares]
FALLS_BACK = [one for one in ARCHITECTURES if not one.shares]
# Longer than the tiny models' windows of 8 tokens; the prompts share blocks.
ROWS = random_rows(3, [(12, (3, 11)), (11, (5, 2)), (3, (4, 9))], first=3)
ENGINES = {"shared": SharedEngine(10_000, block=2), "packed": PackedEngine(10_000)}
LOGPS = 1e-10
# The library computes norms, and routers of experts, in float32 inside.
GRADIENTS = 1e-6


def name_of(value):
    return getattr(value, "name", None)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("architecture", EXACT, ids=name_of)
def test_log_probs_and_gradients_are_exact(architecture, engine):
    model = architecture.build(torch.float64)
    model.set_experts_implementation("eager")
    # Before the oracle runs: caps and sinks are written out in float64, and not as in `eager`.
    assert use_own_attention(model)
    expected, gradients = logps_and_gradients(PaddedEngine(10_000), model, ROWS, LOGPS_ONLY)
    found, found_gradients = logps_and_gradients(ENGINES[engine], model, ROWS, LOGPS_ONLY)
    torch.testing.assert_close(found.logps, expected.logps, atol=LOGPS, rtol=0)
    assert widest_share(found_gradients, gradients) < GRADIENTS


def test_twenty_families_are_exact_and_six_fall_back():
    assert len({one.model_type for one in EXACT}) >= 20
    assert {"gptj", "bloom", "falcon", "mamba", "qwen3_next", "llama4_text"} <= {
        one.name for one in FALLS_BACK
    }


@pytest.mark.parametrize("architecture", EXACT, ids=name_of)
def test_the_probe_takes_the_shared_path(architecture):
    choice = choose_engine("auto", architecture.build(), 1000, ROWS)
    assert choice.note == "engine: shared, proved exact on this model"
    assert isinstance(choice.engine, SharedEngine)
    assert choice.engine.tokens_per_device == 1000


@pytest.mark.parametrize("architecture", FALLS_BACK, ids=name_of)
def test_the_probe_falls_back_and_names_the_layer(architecture):
    model = architecture.build()
    choice = choose_engine("auto", model, 1000, ROWS)
    assert isinstance(choice.engine, PaddedEngine)
    assert choice.note.startswith("engine: padded, as layer 0 (")
    for name in ENGINES:
        with pytest.raises(ModelError, match=rf"engine={name} is not exact .* layer 0 \("):
            choose_engine(name, model, 1000)


@pytest.mark.parametrize("architecture", FALLS_BACK, ids=name_of)
def test_a_model_that_fell_back_is_left_as_it_was(architecture):
    model, untouched = architecture.build(), architecture.build()
    ids = torch.tensor([[3, 4, 5, 6, 7]])
    choose_engine("auto", model, 1000)
    with torch.no_grad():
        expected = untouched(input_ids=ids, use_cache=False).logits
        found = model(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


# ------------------------------------------------------------------ what the probe can see
def test_a_layer_that_mixes_neighbours_is_caught_and_named():
    model = small_llama(num_hidden_layers=3)

    def look_back(_module, _inputs, output):
        return output + 0.01 * torch.roll(output, 1, dims=1)

    model.model.layers[1].register_forward_hook(look_back)
    assert fault_of(ENGINES["shared"], model).startswith("layer 1 (LlamaAttention)")


def test_a_scale_of_the_logits_that_we_do_not_know_is_caught():
    model = small_llama()
    model.lm_head.register_forward_hook(lambda _module, _inputs, output: output * 1.1)
    assert "log-probs of a packed row differ" in fault_of(ENGINES["shared"], model)


def test_a_fault_that_shows_on_long_rows_only_is_caught_there():
    model = small_llama()

    def forget(_module, arguments):
        states = arguments[0].clone()
        if states.shape[1] > 60:
            states[:, 60:] = 0
        return (states, *arguments[1:])

    model.model.layers[1].register_forward_pre_hook(forget)
    short, long = random_rows(1, [(5, (3, 2)), (30, (12, 9))])
    engine = PackedEngine(1000)
    assert fault_of(engine, model, [short]) == ""
    assert fault_of(engine, model, [short, long]).startswith("log-probs of a row of 42 tokens")


def test_the_probe_leaves_the_mode_of_the_model():
    model = small_llama().train()
    assert fault_of(ENGINES["shared"], model, ROWS) == ""
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_of_any_precision_are_probed(dtype):
    assert fault_of(ENGINES["shared"], small_llama().to(dtype), ROWS) == ""


def test_under_autocast_the_cast_itself_is_no_fault():
    def autocast():
        return torch.autocast("cpu", torch.bfloat16)

    assert fault_of(ENGINES["shared"], small_llama(), ROWS, autocast) == ""


def test_an_unknown_layer_kind_is_refused_by_its_name():
    model = small_llama()
    model.config.layer_types = ["full_attention", "some_new_attention"]
    assert fault_of(ENGINES["shared"], model).startswith("layer 1 (some_new_attention)")


def test_an_engine_that_is_asked_for_is_not_replaced():
    for name, kind in (("shared", SharedEngine), ("packed", PackedEngine)):
        assert isinstance(choose_engine(name, small_llama(), 64).engine, kind)
    padded = choose_engine("padded", small_llama(), 64)
    assert (padded.name, padded.note) == ("padded", "engine: padded, as asked for")
