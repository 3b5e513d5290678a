"""The plain path gives the model's own log-probs: it is what everything else is held against."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from truing.engine import LOGPS_ONLY, PaddedEngine, Wanted
from truing.engine.models import grow_embedding, load_model, load_tokenizer
from truing.engine.noise import without_dropout
from truing.errors import FitError, ModelError

EXACT = 1e-10


@dataclass(frozen=True)
class Tokens:
    prompt: np.ndarray
    responses: tuple[np.ndarray, ...]


def tokens(prompt, *responses):
    return Tokens(np.array(prompt, np.int32), tuple(np.array(r, np.int32) for r in responses))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=31,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config).double().eval()


def alone(model, prompt, response):
    """One sequence by itself, in plain steps."""
    ids = torch.tensor([*prompt, *response])[None]
    logits = model(input_ids=ids).logits[0].log_softmax(-1)
    return torch.stack([logits[len(prompt) - 1 + t, response[t]] for t in range(len(response))])


ROWS = [
    tokens([1, 5, 6], [7, 8, 2], [9, 2]),
    tokens([1], [3, 2]),
    tokens([1, 4, 4, 4, 9], [2], [10, 11, 12, 13, 2], [5, 2]),
]


def test_each_response_has_the_log_probs_it_has_alone(model):
    found = PaddedEngine(1000).logps(model, ROWS, LOGPS_ONLY)
    expected = [
        alone(model, row.prompt.tolist(), response.tolist())
        for row in ROWS
        for response in row.responses
    ]
    torch.testing.assert_close(found.logps, torch.cat(expected), atol=EXACT, rtol=0)
    assert found.response.tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 4, 4, 4, 4, 4, 5, 5]
    assert found.group.tolist() == [0, 0, 1, 2, 2, 2]


def test_prompt_log_probs_leave_out_the_first_token(model):
    found = PaddedEngine(1000).logps(model, ROWS, Wanted(prompt=True))
    expected = torch.cat([alone(model, [1], [5, 6]), alone(model, [1], [4, 4, 4, 9])])
    torch.testing.assert_close(found.prompt, expected, atol=EXACT, rtol=0)
    assert found.prompt_group.tolist() == [0, 0, 2, 2, 2, 2]


def test_statistics_are_those_of_the_distribution_that_predicts_the_token(model):
    wanted = Wanted(statistics=frozenset({"log_sum_sq", "entropy"}))
    with torch.no_grad():
        found = PaddedEngine(1000).logps(model, ROWS[:1], wanted).statistics
        distribution = model(input_ids=torch.tensor([[1, 5, 6]])).logits[0, -1].softmax(-1)
    assert found["log_sum_sq"][0].exp() == pytest.approx(float((distribution**2).sum()), abs=EXACT)
    entropy = -(distribution * distribution.log()).sum()
    assert found["entropy"][0] == pytest.approx(float(entropy), abs=EXACT)


def test_the_plan_holds_every_row_once_and_keeps_to_the_budget():
    for budget in (30, 32, 60, 1000):
        passes = PaddedEngine(budget).plan(ROWS)
        assert sorted(i for indices in passes for i in indices) == [0, 1, 2]
        for indices in passes:
            width = max(len(ROWS[i].prompt) + max(map(len, ROWS[i].responses)) for i in indices)
            assert width * sum(len(ROWS[i].responses) for i in indices) <= budget


def test_a_row_over_the_budget_is_an_error_that_says_what_it_needs():
    with pytest.raises(FitError, match=r"30 tokens.*budget of 16"):
        PaddedEngine(16).plan(ROWS)


def test_the_real_model_has_the_log_probs_it_was_published_with(shared):
    folder = shared / "data" / "models" / "stories260K"
    reference = json.loads((folder / "reference.json").read_text())
    model = load_model(str(folder), torch.float64)
    for sequence in reference["sequences"]:
        ids = sequence["ids"]
        row = tokens(ids[:1], ids[1:])
        found = PaddedEngine(10_000).logps(model, [row], LOGPS_ONLY).logps.detach()
        expected = torch.tensor(sequence["token_logprobs"], dtype=torch.float64)
        # The published values went through float32 norms and rotations inside the library.
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_new_rows_of_the_embedding_depend_on_the_seed_alone(shared):
    folder = str(shared / "data" / "models" / "stories260K")
    rows = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        model = load_model(folder, torch.float32)
        assert grow_embedding(model, 514, seed=7) == 2
        rows.append(model.get_input_embeddings().weight[512:].detach())
    assert torch.equal(rows[0], rows[1])


def test_dropout_is_found_and_set_to_zero():
    layer = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.3))
    assert without_dropout(layer)
    assert layer[1].p == 0.0
    assert not without_dropout(layer)


@pytest.mark.parametrize("load", [load_tokenizer, lambda path: load_model(path, torch.float32)])
def test_an_unknown_model_is_one_sentence(load, tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        load(str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="can be loaded from this folder"):
        load(str(tmp_path / "empty"))
