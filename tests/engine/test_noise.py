"""A policy and its reference see no noise, and a saved model says of itself what it said before."""

import pytest
import torch
from transformers import AutoConfig

from truing.engine import PaddedEngine
from truing.engine.architectures import ARCHITECTURES, Architecture
from truing.engine.choose import choose_engine
from truing.engine.noise import refuse_noise, said_before, without_dropout
from truing.errors import ModelError

from .rows import random_rows

BY_NAME = {one.name: one for one in ARCHITECTURES}
PLAIN = dict(BY_NAME["llama"].settings)
NOISY = {
    "starcoder2": {**PLAIN, "residual_dropout": 0.1, "embedding_dropout": 0.1},
    "seed_oss": {**PLAIN, "head_dim": 8},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "hidden_dropout": 0.1},
    "falcon": {**PLAIN, "hidden_dropout": 0.1, "attention_dropout": 0.1},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
}


@pytest.mark.parametrize("family", NOISY)
def test_no_dropout_is_left_wherever_a_family_keeps_it(family):
    model = Architecture(family, NOISY[family]).build()
    assert without_dropout(model)
    refuse_noise(model)
    assert not without_dropout(model)


def test_noise_that_is_no_dropout_is_refused():
    model = Architecture("gpt2", NOISY["gpt2"]).build()
    without_dropout(model)
    layer = model.transformer.h[0].mlp
    plain = type(layer).forward
    layer.forward = lambda states: plain(layer, states + torch.randn_like(states))
    with pytest.raises(ModelError, match="draws noise"):
        refuse_noise(model)


def test_a_saved_model_says_what_it_said_before(tmp_path):
    model = Architecture("falcon", NOISY["falcon"]).build()
    without_dropout(model)
    with said_before(model):
        model.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).hidden_dropout == 0.1
    refuse_noise(model)


def test_a_window_that_stands_in_the_mask_alone_is_no_packed_row():
    settings = {**PLAIN, "sliding_window": 20, "num_local_experts": 2}
    model = Architecture("phimoe", settings).build()
    choice = choose_engine("auto", model, 1000, random_rows(3, [(6, (3, 4))], first=3))
    assert choice.name == "padded"
    assert "its window of 20 tokens is in its mask alone" in choice.reason


def test_the_longest_row_is_cut_for_the_proof_and_not_left_out(monkeypatch):
    monkeypatch.setattr("truing.engine.probe.LONGEST_ROW", 40)
    seen = []
    plain = PaddedEngine.logps

    def counted(self, model, rows, wanted):
        seen.extend(len(row.prompt) + max(map(len, row.responses)) for row in rows)
        return plain(self, model, rows, wanted)

    monkeypatch.setattr(PaddedEngine, "logps", counted)
    model = Architecture("gpt2", NOISY["gpt2"]).build()
    rows = random_rows(3, [(90, (3, 4)), (6, (30, 4))], first=3)
    assert choose_engine("auto", model, 1000, rows).name == "shared"
    assert max(seen) == 40


def test_memory_that_ran_out_is_no_answer(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr("truing.engine.shared.SharedEngine.logps", full)
    model = Architecture("gpt2", NOISY["gpt2"]).build()
    with pytest.raises(torch.OutOfMemoryError):
        choose_engine("auto", model, 1000)
