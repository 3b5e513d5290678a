import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from truing.responses import Sampling, sample
from truing.world import MAX_NEW_TOKENS, assess, model_folder, prompts
from truing.world.pool import SEED, asked, groups

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
    how = Sampling(num_responses=4, max_new_tokens=MAX_NEW_TOKENS)
    responses = sample(model, tokenizer, ids, sampling=how, seed=7)
    judged = [
        [assess(prompt, one.text, finished=one.finished) for one in group]
        for prompt, group in zip(asked, responses, strict=True)
    ]
    return responses, judged


def test_it_speaks_whole_sentences_and_comes_to_an_end(said):
    responses, judged = said
    sentences = sum(len(one.verdicts) for group in judged for one in group)
    broken = sum(one.count("broken") for group in judged for one in group)
    assert broken / sentences < 0.08
    assert np.mean([one.finished for group in responses for one in group]) > 0.97


def test_it_says_what_the_notes_say_far_more_often_than_by_chance():
    said = groups("test", ("notes",))
    judged = [
        assess(group.prompt, one.text, finished=one.finished)
        for group in said
        for one in group.candidates
    ]
    right = sum(one.count("right", "close") for one in judged)
    wrong = sum(one.count("wrong") for one in judged)
    assert right / (right + wrong) > CHANCE + 0.15
    assert 0.25 < np.mean([one.is_accurate for one in judged]) < 0.75


def test_there_is_room_above_the_start(said):
    _, judged = said
    scores = np.array([[one.score for one in group] for group in judged])
    assert scores.max(axis=1).mean() > scores.mean() + 1.0


def test_responses_to_one_prompt_differ(said):
    responses, _ = said
    assert np.mean([len({one.text for one in group}) for group in responses]) > 3.5


def test_the_pool_holds_what_the_start_says_with_its_seed(start):
    model, tokenizer = start
    few = asked("test", "notes")[:24]
    ids = tokenizer([prompt.text for prompt in few])["input_ids"]
    how = Sampling(num_responses=2, max_new_tokens=MAX_NEW_TOKENS)
    responses = sample(model, tokenizer, ids, sampling=how, seed=SEED)
    drawn = [one.text for group in responses for one in group]
    kept = [one.text for group in groups("test", ("notes",))[:24] for one in group.candidates]
    # Another company in the batch may round a product otherwise and turn a near tie.
    assert np.mean([one == other for one, other in zip(drawn, kept, strict=True)]) > 0.9
