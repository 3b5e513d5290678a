import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from scipy.stats import chisquare
from transformers import AutoModelForCausalLM, AutoTokenizer, MambaConfig, MambaForCausalLM

from truing.errors import ConfigError, FitError
from truing.responses import Sampling, sample
from truing.responses.sample import _CachedSteps, _WholeSteps, choose
from truing.world import model_folder, prompts

# float32 sums in another order; the values are log-probs of up to some hundred nats
FLOAT32 = 1e-4


@pytest.fixture(scope="module")
def start():
    folder = model_folder()
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    return model, AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def asked(start):
    return start[1]([prompt.text for prompt in prompts("test")[:12]])["input_ids"]


@pytest.fixture(scope="module")
def drawn(start, asked):
    return sample(*start, asked, sampling=Sampling(num_responses=2), seed=1)


@pytest.mark.parametrize("batch_size", [5, 16])
def test_the_batch_size_changes_no_response(start, asked, drawn, batch_size):
    again = sample(*start, asked, sampling=Sampling(num_responses=2), seed=1, batch_size=batch_size)
    assert [[r.tokens for r in group] for group in again] == [
        [r.tokens for r in group] for group in drawn
    ]


def test_the_company_of_a_prompt_changes_no_response(start, asked, drawn):
    part = sample(*start, asked[7:2:-1], sampling=Sampling(num_responses=2), seed=1)
    assert [[r.tokens for r in g] for g in part] == [[r.tokens for r in g] for g in drawn[7:2:-1]]


def test_fewer_responses_are_the_first_ones_of_more(start, asked, drawn):
    one = sample(*start, asked[:8], seed=1)
    assert [group[0].tokens for group in one] == [group[0].tokens for group in drawn[:8]]


def test_another_seed_gives_other_responses(start, asked, drawn):
    other = sample(*start, asked[:8], sampling=Sampling(num_responses=2), seed=2)
    same = [a[0].tokens == b[0].tokens for a, b in zip(other, drawn, strict=False)]
    assert np.mean(same) < 0.2


def test_equal_prompts_get_different_responses(start, asked):
    groups = sample(*start, [asked[0]] * 8, seed=1)
    assert len({group[0].tokens for group in groups}) >= 6


def test_the_end_token_stands_last_in_a_finished_response_and_nowhere_else(start, drawn):
    end = start[1].eos_token_id
    for response in (r for group in drawn for r in group if r.finished):
        assert response.tokens.index(end) == len(response.tokens) - 1
        assert "<|" not in response.text


def test_a_response_that_meets_the_limit_is_cut_and_has_no_end_token(start, asked):
    groups = sample(*start, asked, sampling=Sampling(max_new_tokens=4), seed=1)
    for response in (group[0] for group in groups):
        assert len(response.tokens) <= 4
        assert response.finished == (response.tokens[-1] == start[1].eos_token_id)
    assert not all(group[0].finished for group in groups)


def test_the_limit_does_not_change_what_came_before_it(start, asked, drawn):
    groups = sample(*start, asked, sampling=Sampling(max_new_tokens=4), seed=1)
    assert [g[0].tokens for g in groups] == [g[0].tokens[:4] for g in drawn]


def test_logp_is_that_of_the_models_own_forward(start, asked, drawn):
    model, _ = start
    for prompt, group in zip(asked[:6], drawn, strict=False):
        ids = torch.tensor([[*prompt, *group[0].tokens]])
        with torch.no_grad():
            logps = model(ids).logits[0].log_softmax(-1)
        told = logps[len(prompt) - 1 : -1].gather(-1, ids[0, len(prompt) :, None]).sum()
        assert group[0].logp == pytest.approx(told.item(), abs=FLOAT32)


def test_temperature_0_is_the_greedy_text_of_transformers(start, asked):
    model, _ = start
    groups = sample(*start, asked[:6], sampling=Sampling(temperature=0, max_new_tokens=40))
    for prompt, group in zip(asked[:6], groups, strict=True):
        ids = torch.tensor([prompt])
        wanted = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=40
        )
        assert list(group[0].tokens) == wanted[0, len(prompt) :].tolist()


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}], ids=["top_k", "top_p"])
def test_the_narrowest_choice_is_the_likeliest_token(start, asked, narrow):
    limited = sample(*start, asked[:6], sampling=Sampling(max_new_tokens=20, **narrow), seed=3)
    likeliest = sample(*start, asked[:6], sampling=Sampling(max_new_tokens=20, temperature=0))
    assert [g[0].tokens for g in limited] == [g[0].tokens for g in likeliest]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_with_their_probabilities(temperature):
    logps = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    number = 20_000
    tokens = choose(
        logps.expand(number, -1), torch.arange(number), 3, Sampling(temperature=temperature)
    )
    wanted = (logps / temperature).softmax(-1).double().numpy()
    counts = np.bincount(tokens.numpy(), minlength=4)
    assert chisquare(counts, wanted / wanted.sum() * number).pvalue > 1e-3


def test_top_p_keeps_the_token_that_crosses_the_limit():
    logps = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(5_000, -1)
    tokens = choose(logps, torch.arange(5_000), 0, Sampling(top_p=0.6))
    assert set(tokens.tolist()) == {0, 1}


# peft asks transformers by an old name
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_adapters_that_change_nothing_change_no_response(start, asked, drawn):
    fresh = AutoModelForCausalLM.from_pretrained(model_folder())
    adapted = get_peft_model(fresh, LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"))
    groups = sample(adapted, start[1], asked[:4], sampling=Sampling(num_responses=2), seed=1)
    assert [[r.tokens for r in g] for g in groups] == [[r.tokens for r in g] for g in drawn[:4]]


def test_with_and_without_a_cache_the_logits_agree(start, asked):
    model, _ = start
    prompt = asked[:5]
    paths = [kind(model, prompt) for kind in (_CachedSteps, _WholeSteps)]
    new = None
    with torch.no_grad():
        for step in range(4):
            cached, whole = (path.logits(new) for path in paths)
            torch.testing.assert_close(cached, whole, atol=FLOAT32, rtol=0)
            new = whole.argmax(-1)
            if step == 1:
                keep = torch.tensor([0, 3, 4])
                new = new[keep]
                for path in paths:
                    path.keep(keep)


def test_a_state_space_model_is_sampled_too(start, asked):
    torch.manual_seed(0)
    config = MambaConfig(
        vocab_size=1024, hidden_size=16, num_hidden_layers=1, state_size=4, eos_token_id=0
    )
    model = MambaForCausalLM(config).eval()
    few = Sampling(num_responses=2, max_new_tokens=6)
    together = sample(model, start[1], asked[:3], sampling=few, seed=1)
    alone = sample(model, start[1], asked[:3], sampling=few, seed=1, batch_size=1)
    assert [[r.tokens for r in g] for g in together] == [[r.tokens for r in g] for g in alone]


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_responses": 0},
        {"temperature": -1.0},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"top_k": 0},
        {"max_new_tokens": 0},
        {"temperature": 0.0, "num_responses": 2},
        {"temperature": 0.0, "top_p": 0.5},
    ],
    ids=str,
)
def test_a_setting_out_of_range_or_without_effect_is_an_error(wrong):
    with pytest.raises(ConfigError):
        Sampling(**wrong)


def test_a_prompt_that_leaves_no_room_is_an_error_that_says_how_much_there_is(start, asked):
    with pytest.raises(FitError, match=r"max_new_tokens=\d+"):
        sample(*start, asked, sampling=Sampling(max_new_tokens=512))


def test_an_empty_prompt_is_an_error(start):
    with pytest.raises(ConfigError, match="empty prompt"):
        sample(*start, [[]])


def test_no_prompt_gives_no_response(start):
    assert sample(*start, []) == []
