from hashlib import sha256

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from truing.responses import Sampling, sample
from truing.world import assess, manifest, model_folder, prompts

MIB = 2**20
# Adjectives of the right direction by chance: one in two, of facts that the notes name.
CHANCE = 0.5


@pytest.fixture(scope="module")
def start():
    folder = model_folder()
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def said(start):
    model, tokenizer = start
    asked = prompts("test")[:64]
    ids = tokenizer([prompt.text for prompt in asked])["input_ids"]
    groups = sample(model, tokenizer, ids, sampling=Sampling(num_responses=4), seed=7)
    judged = [
        [assess(prompt, one.text, finished=one.finished) for one in group]
        for prompt, group in zip(asked, groups, strict=True)
    ]
    return groups, judged


def test_the_weights_fit_the_package():
    assert sum(path.stat().st_size for path in model_folder().glob("*.safetensors")) <= 4 * MIB


def test_the_manifest_belongs_to_the_files_beside_it():
    for name, digest in manifest()["sha256"].items():
        assert sha256((model_folder() / name).read_bytes()).hexdigest() == digest


def test_the_manifest_says_how_it_was_made():
    told = manifest()
    assert told["script"] == "python -m truing.world.build"
    assert told["plan"]["seed"] == 0
    for cycle in told["training"]:
        assert len(cycle["data_sha256"]) == 64
        assert cycle["loss"]["mixture"] < 1
    assert told["speech"]["samples"]
    assert set(told["versions"]) == {"torch", "transformers", "tokenizers"}


def test_prompts_and_long_responses_fit_its_positions(start):
    model, tokenizer = start
    longest = max(len(ids) for ids in tokenizer([p.text for p in prompts("test")])["input_ids"])
    assert longest + 256 <= model.config.max_position_embeddings


def test_the_tokenizer_has_an_end_and_a_pad_token_and_spells_any_text(start):
    _, tokenizer = start
    assert tokenizer.eos_token_id != tokenizer.pad_token_id
    text = "Zürich, 3 × 4 = 12\n"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_it_speaks_whole_sentences_and_comes_to_an_end(said):
    groups, judged = said
    sentences = sum(len(one.verdicts) for group in judged for one in group)
    broken = sum(one.count("broken") for group in judged for one in group)
    assert broken / sentences < 0.08
    assert np.mean([one.finished for group in groups for one in group]) > 0.97


def test_it_says_what_the_notes_say_far_more_often_than_by_chance(said):
    _, judged = said
    flat = [one for group in judged for one in group]
    right = sum(one.count("right", "close") for one in flat)
    wrong = sum(one.count("wrong") for one in flat)
    assert right / (right + wrong) > CHANCE + 0.12
    assert manifest()["speech"]["right_facts"] >= 0.65


def test_there_is_room_above_the_start(said):
    _, judged = said
    scores = np.array([[one.score for one in group] for group in judged])
    assert scores.max(axis=1).mean() > scores.mean() + 1.0


def test_responses_to_one_prompt_differ(said):
    groups, _ = said
    assert np.mean([len({one.text for one in group}) for group in groups]) > 3.5


def test_the_model_is_float32_as_stored(start):
    assert {parameter.dtype for parameter in start[0].parameters()} == {torch.float32}
