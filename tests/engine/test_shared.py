"""The packed paths give the padded path's log-probs and gradients, whatever lies in a row."""

import copy
import functools
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model

from truing.engine import LOGPS_ONLY, PackedEngine, PaddedEngine, SharedEngine, Wanted
from truing.engine.architectures import ARCHITECTURES
from truing.errors import ModelError, NeedsError

from .rows import (
    logps_and_gradients,
    random_rows,
    small_llama,
    tokens,
    widest_share,
)

# peft asks transformers by a name that transformers is about to give up.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

LOGPS = 1e-10
# The library computes norms in float32 inside.
GRADIENTS = 1e-6
FLOAT32 = 1e-5

PADDED = PaddedEngine(100_000)
ENGINES = {
    "shared": SharedEngine(10_000, block=2),
    "packed": PackedEngine(10_000),
    "shared, head in tiles, again": SharedEngine(
        10_000, block=2, tile_elements=16 * 61, keep_bytes=0
    ),
}
BY_NAME = {architecture.name: architecture for architecture in ARCHITECTURES}
ROWS = {
    "K=1": random_rows(1, [(4, (3,)), (1, (5,)), (9, (1,))]),
    "K=2": random_rows(2, [(4, (3, 6)), (1, (5, 1)), (9, (1, 1))]),
    "K=4": random_rows(4, [(4, (3, 6, 2, 2)), (11, (5, 1, 7, 4))]),
    "mixed, one system prompt": random_rows(5, [(8, (3,)), (9, (2, 4)), (6, (5, 1, 1))], first=5),
    "one prompt, one response in two rows": [
        tokens([7, 8, 9, 3], [1, 5, 2], [9, 2]),
        tokens([7, 8, 9, 3], [9, 2], [4, 4, 4, 2]),
        tokens([7, 8, 9], [9, 2], [4, 4, 4, 2]),
    ],
}
EVERYTHING = Wanted(prompt=True, statistics=frozenset({"log_sum_sq", "entropy"}), prompt_end=True)


def assert_same_as_padded(engine, model, rows, wanted=LOGPS_ONLY, gradients=GRADIENTS):
    expected, slopes = logps_and_gradients(PADDED, model, rows, wanted)
    found, found_slopes = logps_and_gradients(engine, model, rows, wanted)
    torch.testing.assert_close(found.logps, expected.logps, atol=LOGPS, rtol=0)
    assert torch.equal(found.response, expected.response)
    assert torch.equal(found.group, expected.group)
    for name in wanted.statistics:
        torch.testing.assert_close(
            found.statistics[name], expected.statistics[name], atol=LOGPS, rtol=0
        )
    if wanted.prompt:
        torch.testing.assert_close(found.prompt, expected.prompt, atol=LOGPS, rtol=0)
        assert torch.equal(found.prompt_group, expected.prompt_group)
    if wanted.prompt_end:
        torch.testing.assert_close(found.prompt_end, expected.prompt_end, atol=LOGPS, rtol=0)
    assert widest_share(found_slopes, slopes) < gradients


@pytest.fixture(scope="module")
def model():
    return small_llama().double()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("wanted", [LOGPS_ONLY, EVERYTHING], ids=["log-probs", "everything"])
def test_log_probs_and_gradients_are_the_padded_ones(model, engine, rows, wanted):
    assert_same_as_padded(ENGINES[engine], model, ROWS[rows], wanted)


@pytest.mark.parametrize("engine", ENGINES)
def test_float32_stays_within_its_rounding(engine):
    model = small_llama()
    rows = random_rows(6, [(20, (13, 30)), (7, (25, 4)), (40, (9, 9))])
    expected, slopes = logps_and_gradients(PADDED, model, rows, LOGPS_ONLY)
    found, found_slopes = logps_and_gradients(ENGINES[engine], model, rows, LOGPS_ONLY)
    scale = float(expected.logps.detach().abs().max())
    assert float((found.logps - expected.logps).detach().abs().max()) < FLOAT32 * scale
    assert widest_share(found_slopes, slopes) < FLOAT32


HEADS = {
    "tied": {"tie_word_embeddings": True},
    "untied": {"tie_word_embeddings": False},
    "biases": {"attention_bias": True, "mlp_bias": True},
}


@pytest.mark.parametrize("settings", HEADS)
def test_tied_untied_and_biased_weights(settings):
    model = small_llama(**HEADS[settings]).double()
    assert_same_as_padded(ENGINES["shared"], model, ROWS["K=2"])


def test_a_head_with_a_bias():
    assert_same_as_padded(ENGINES["shared"], BY_NAME["phi"].build(torch.float64), ROWS["K=2"])


def norm_in_full(self, states):
    variance = states.pow(2).mean(-1, keepdim=True)
    return self.weight * (states * torch.rsqrt(variance + self.variance_epsilon))


@pytest.mark.parametrize("name", ["llama", "qwen3", "mistral", "phi3", "granite"])
@pytest.mark.parametrize("engine", ["shared", "packed"])
def test_gradients_reach_float64_where_the_norms_do(name, engine):
    model = BY_NAME[name].build(torch.float64)
    for module in model.modules():
        if hasattr(module, "variance_epsilon"):
            module.forward = functools.partial(norm_in_full, module)
    assert_same_as_padded(ENGINES[engine], model, ROWS["K=4"], gradients=1e-10)


# ------------------------------------------------------------------ adapters and wrappers
def with_lora(model, **settings):
    torch.manual_seed(1)
    adapted = get_peft_model(
        model, LoraConfig(r=3, target_modules=["q_proj", "down_proj"], **settings)
    )
    for name, parameter in adapted.named_parameters():
        # Fresh adapters change nothing: half of their gradient would be 0.
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return adapted


@pytest.mark.parametrize("engine", ENGINES)
def test_adapters_on_a_frozen_model(engine):
    model = with_lora(small_llama().double())
    assert_same_as_padded(ENGINES[engine], model, ROWS["K=2"], EVERYTHING)


def test_adapters_with_a_head_that_learns():
    model = with_lora(small_llama().double(), modules_to_save=["lm_head"])
    assert_same_as_padded(ENGINES["shared"], model, ROWS["K=2"])


def test_an_adapter_on_the_head_itself():
    torch.manual_seed(1)
    model = get_peft_model(
        small_llama().double(), LoraConfig(r=3, target_modules=["lm_head", "q_proj"])
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    assert_same_as_padded(ENGINES["shared"], model, ROWS["K=2"], EVERYTHING)


def test_the_reference_is_the_same_model_with_its_adapters_off():
    model = with_lora(small_llama().double())
    with model.disable_adapter():
        off = ENGINES["shared"].logps(model, ROWS["K=2"], LOGPS_ONLY).logps
    on = ENGINES["shared"].logps(model, ROWS["K=2"], LOGPS_ONLY).logps
    base = PADDED.logps(small_llama().double(), ROWS["K=2"], LOGPS_ONLY).logps
    torch.testing.assert_close(off, base, atol=LOGPS, rtol=0)
    assert float((on - base).detach().abs().max()) > 0.01


def test_virtual_tokens_are_refused():
    config = PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
    model = get_peft_model(small_llama(), config)
    with pytest.raises(ModelError, match="virtual tokens"):
        ENGINES["shared"].logps(model, ROWS["K=2"], LOGPS_ONLY)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("adapted", [False, True])
def test_gradient_checkpointing(engine, adapted):
    model = small_llama().double()
    model = with_lora(model) if adapted else model
    rows = ROWS["mixed, one system prompt"]
    expected = logps_and_gradients(ENGINES[engine], model, rows, LOGPS_ONLY)[1]
    model.gradient_checkpointing_enable({"use_reentrant": False})
    if adapted:
        model.enable_input_require_grads()
    found = logps_and_gradients(ENGINES[engine], model.train(), rows, LOGPS_ONLY)[1]
    assert widest_share(found, expected) < 1e-12


def test_a_copy_of_a_model_uses_its_own_weights():
    model = small_llama()
    before = ENGINES["shared"].logps(model, ROWS["K=2"], LOGPS_ONLY).logps.detach()
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    again = ENGINES["shared"].logps(copied, ROWS["K=2"], LOGPS_ONLY).logps.detach()
    assert torch.equal(before, again)
    plain = copied(input_ids=torch.tensor([[1, 2, 3]])).logits
    assert not torch.equal(plain, model(input_ids=torch.tensor([[1, 2, 3]])).logits)


def test_a_wrapper_around_the_model_is_called():
    class Wrapper(torch.nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module
            self.calls = 0

        def forward(self, **inputs):
            self.calls += 1
            return self.module(**inputs)

    model = small_llama()
    wrapped = Wrapper(model)
    found = ENGINES["shared"].logps(wrapped, ROWS["K=2"], LOGPS_ONLY).logps
    assert wrapped.calls == 1
    assert torch.equal(found, ENGINES["shared"].logps(model, ROWS["K=2"], LOGPS_ONLY).logps)


def test_mixed_precision_may_wrap_the_forward_after_us():
    from accelerate import Accelerator

    model = small_llama()
    expected = ENGINES["shared"].logps(model, ROWS["K=2"], LOGPS_ONLY).logps
    accelerator = Accelerator(mixed_precision="bf16", cpu=True)
    prepared = accelerator.prepare_model(model)
    found = ENGINES["shared"].logps(prepared, ROWS["K=2"], LOGPS_ONLY).logps
    assert found.dtype == torch.float32
    gap = float((found - expected).detach().abs().max())
    assert 1e-4 < gap < 0.5
    bare = accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)
    again = ENGINES["shared"].logps(bare, ROWS["K=2"], LOGPS_ONLY).logps
    assert torch.equal(again, expected)


def test_the_signature_of_the_model_stays():
    import inspect

    model = small_llama()
    expected = list(inspect.signature(model.forward).parameters)
    ENGINES["shared"].logps(model, ROWS["K=2"], LOGPS_ONLY)
    assert list(inspect.signature(model.forward).parameters) == expected


def test_what_is_no_language_model_is_refused():
    with pytest.raises(ModelError, match="no causal language model"):
        ENGINES["shared"].logps(torch.nn.Linear(2, 2), ROWS["K=2"], LOGPS_ONLY)


# ------------------------------------------------------------------ shared tokens
def test_a_response_in_two_rows_is_computed_once():
    rows = ROWS["one prompt, one response in two rows"]
    packed = ENGINES["shared"].layout(rows)
    # Prompts 7 8 | 9 3 and 9, responses of 3, 2 and 4 tokens to one, of 2 and 4 to the other.
    assert packed.tree.num_tokens == 2 + 2 + 3 + 2 + 4 + 1 + 2 + 4
    assert ENGINES["packed"].layout(rows).tree.num_tokens == sum(
        len(row.prompt) + len(response) for row in rows for response in row.responses
    )


def test_a_logit_that_is_not_a_number_reaches_the_log_probs():
    model = small_llama()
    with torch.no_grad():
        model.model.embed_tokens.weight[5] = torch.nan
    rows = [tokens([1, 2], [5, 3], [4, 4]), tokens([6], [7, 8])]
    found = ENGINES["shared"].logps(model, rows, LOGPS_ONLY)
    assert torch.isnan(found.logps[1])
    # Weight 0 times a value that is not a number is not one: its own prompt may be lost with it.
    assert torch.isfinite(found.logps[4:]).all()


# ------------------------------------------------------------------ live reference
@pytest.mark.parametrize("engine", ENGINES)
def test_the_divergence_from_a_live_reference(engine):
    model = small_llama().double()
    reference = small_llama(hidden_size=24).double()
    wanted = Wanted(
        statistics=frozenset({"kl_pos", "entropy"}), live_reference=lambda: nullcontext(reference)
    )
    assert_same_as_padded(ENGINES[engine], model, ROWS["K=4"], wanted)
    assert all(parameter.grad is None for parameter in reference.parameters())


def test_the_divergence_from_the_policy_itself_without_its_adapters():
    from contextlib import contextmanager

    model = with_lora(small_llama().double())

    @contextmanager
    def adapters_off():
        with model.disable_adapter():
            yield model

    wanted = Wanted(statistics=frozenset({"kl_pos"}), live_reference=adapters_off)
    assert_same_as_padded(ENGINES["shared"], model, ROWS["K=2"], wanted)
    found = ENGINES["shared"].logps(model, ROWS["K=2"], wanted).statistics["kl_pos"]
    assert float(found.detach().min()) > 0


@pytest.mark.parametrize("engine", [ENGINES["shared"], PADDED])
@pytest.mark.parametrize(
    ("name", "message"), [("kl_pos", "reference model at every step"), ("skew", "no engine")]
)
def test_a_statistic_that_cannot_be_had_is_refused(model, engine, name, message):
    with pytest.raises(NeedsError, match=message):
        engine.logps(model, ROWS["K=2"], Wanted(statistics=frozenset({name})))


# ------------------------------------------------------------------ budgets
def test_the_loss_of_a_step_does_not_depend_on_the_budget(model):
    rows = random_rows(9, [(p, (3, 5)) for p in (4, 9, 12, 7, 6, 11)], first=4)
    whole = SharedEngine(10_000, block=2).logps(model, rows, LOGPS_ONLY)
    sums = torch.zeros(2 * len(rows), dtype=torch.float64).index_add(0, whole.response, whole.logps)
    engine = SharedEngine(30, block=2)
    passes = engine.plan(rows)
    assert len(passes) > 2
    for indices in passes:
        part = engine.logps(model, [rows[i] for i in indices], LOGPS_ONLY)
        found = torch.zeros(2 * len(indices), dtype=torch.float64)
        found = found.index_add(0, part.response, part.logps).reshape(-1, 2)
        expected = sums.reshape(-1, 2)[indices]
        torch.testing.assert_close(found, expected, atol=LOGPS, rtol=0)


def test_rows_may_be_of_any_integer_type(model):
    rows = ROWS["K=2"]
    wide = [
        type(row)(row.prompt.astype(np.int64), tuple(r.astype(np.int64) for r in row.responses))
        for row in rows
    ]
    one, other = (ENGINES["shared"].logps(model, some, LOGPS_ONLY).logps for some in (rows, wide))
    assert torch.equal(one, other)
