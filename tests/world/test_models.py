"""The embedded models: what each file is, what it says, and which is better."""

from hashlib import sha256

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from truing.errors import ConfigError
from truing.responses import Sampling, sample
from truing.world import (
    KINDS,
    MAX_NEW_TOKENS,
    MODELS,
    SHORT,
    assess,
    manifest,
    model_folder,
    prompts,
)
from truing.world.build import PLANS

MIB = 2**20


def load(name):
    folder = model_folder(name)
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def ask(name, number=64):
    """Two responses to each of some short prompts, judged."""
    model, tokenizer = load(name)
    asked = prompts("test", SHORT)[:number]
    ids = tokenizer([prompt.text for prompt in asked])["input_ids"]
    how = Sampling(num_responses=2, max_new_tokens=MAX_NEW_TOKENS)
    return [
        assess(prompt, one.text, finished=one.finished)
        for prompt, group in zip(
            asked, sample(model, tokenizer, ids, sampling=how, seed=3), strict=True
        )
        for one in group
    ]


def test_all_weights_together_fit_the_package():
    sizes = [
        path.stat().st_size for name in MODELS for path in model_folder(name).glob("*.safetensors")
    ]
    assert len(sizes) == 3
    assert sum(sizes) <= 12 * MIB


@pytest.mark.parametrize("name", MODELS)
def test_a_manifest_belongs_to_the_files_beside_it_and_says_how_they_were_made(name):
    told = manifest(name)
    for file, digest in told["sha256"].items():
        assert sha256((model_folder(name) / file).read_bytes()).hexdigest() == digest
    assert told["script"] == f"python -m truing.world.build --model {name}"
    assert len(told["training"]) == len(PLANS[name].cycles)
    assert all(len(cycle["data_sha256"]) == 64 for cycle in told["training"])
    assert set(told["versions"]) == {"torch", "transformers", "tokenizers"}
    assert set(told["speech"]) == set(KINDS)


@pytest.mark.parametrize("name", MODELS)
def test_prompts_and_the_cap_fit_the_positions_of_every_model(name):
    model, tokenizer = load(name)
    asked = [prompt.text for prompt in prompts("test", KINDS)]
    longest = max(len(ids) for ids in tokenizer(asked)["input_ids"])
    assert longest + MAX_NEW_TOKENS <= model.config.max_position_embeddings


@pytest.mark.parametrize("name", MODELS)
def test_every_tokenizer_spells_any_text_and_has_an_end_token(name):
    tokenizer = AutoTokenizer.from_pretrained(model_folder(name))
    assert tokenizer.eos_token_id != tokenizer.pad_token_id
    text = "Zürich, 3 × 4 = 12\nTwo  blanks."
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_stronger_model_shares_the_tokenizer_and_the_foreign_one_does_not():
    start, stronger, foreign = (
        AutoTokenizer.from_pretrained(model_folder(name)).get_vocab() for name in MODELS
    )
    assert start == stronger
    assert foreign != start
    types = {
        AutoModelForCausalLM.from_pretrained(model_folder(n)).config.model_type for n in MODELS
    }
    assert types == {"llama", "olmo2"}


def test_the_manifest_shows_the_stronger_model_above_the_start_by_more_than_the_interval():
    start, better = manifest("start")["speech"], manifest("stronger")["speech"]
    assert all(better[kind]["score"] > start[kind]["score"] for kind in KINDS)
    for kind in ("advice", "story"):
        assert better[kind]["score_low"] > start[kind]["score_high"]


def test_the_stronger_model_says_better_things_than_the_start():
    start, stronger = (np.array([one.score for one in ask(name)]) for name in ("start", "stronger"))
    gain = stronger - start
    reach = 1.96 * gain.std() / len(gain) ** 0.5
    assert gain.mean() - reach > 0


def test_the_manifest_shows_the_foreign_model_above_the_start_in_every_kind():
    start, foreign = manifest("start")["speech"], manifest("foreign")["speech"]
    assert all(foreign[kind]["score"] > start[kind]["score"] for kind in KINDS)
    assert foreign["story"]["score_low"] > start["story"]["score_high"]


def test_the_foreign_model_speaks_whole_sentences():
    judged = ask("foreign", number=24)
    sentences = sum(len(one.verdicts) for one in judged)
    assert sum(one.count("broken") for one in judged) < 0.1 * sentences


def test_an_unknown_model_is_an_error_that_names_the_known_ones():
    with pytest.raises(ConfigError, match="start, stronger, foreign"):
        model_folder("best")


def test_the_models_are_float32_as_stored():
    for name in MODELS:
        model, _ = load(name)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
