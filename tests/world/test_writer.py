from random import Random

import numpy as np
import pytest

from truing.world import assess
from truing.world.prompts import draw_prompt
from truing.world.writer import CLEAN, MIXTURE, write_response

NUMBER = 3000


@pytest.fixture(scope="module")
def written():
    random = Random(0)
    asked = [draw_prompt(random, "train") for _ in range(NUMBER)]
    texts = [write_response(prompt, random, MIXTURE) for prompt in asked]
    return [
        (text, assess(prompt, text, finished=True))
        for prompt, text in zip(asked, texts, strict=True)
    ]


def test_every_sentence_written_is_understood(written):
    assert sum(judged.count("broken") for _, judged in written) == 0


def test_quality_and_length_are_drawn_apart(written):
    lengths = np.array([len(text.split()) for text, _ in written])
    scores = np.array([judged.score for _, judged in written])
    assert abs(np.corrcoef(lengths, scores)[0, 1]) < 0.1


def test_lengths_and_scores_vary_widely(written):
    lengths = np.array([len(text.split()) for text, _ in written])
    scores = np.array([judged.score for _, judged in written])
    assert np.percentile(lengths, 5) < 10
    assert np.percentile(lengths, 95) > 65
    assert scores.std() > 1.2
    assert len(set(scores.round(6))) > 500


def test_wrong_facts_are_a_minority_that_comes_in_streaks(written):
    kinds = [
        [v.kind == "wrong" for v in judged.verdicts if v.kind in ("right", "close", "wrong")]
        for _, judged in written
    ]
    flat = [is_wrong for facts in kinds for is_wrong in facts]
    second_after_wrong = [facts[1] for facts in kinds if len(facts) > 1 and facts[0]]
    assert 0.08 < np.mean(flat) < 0.25
    assert np.mean(second_after_wrong) > 2.5 * np.mean(flat)


def test_clean_text_has_no_wrong_fact_and_no_mistake():
    random = Random(1)
    for _ in range(300):
        prompt = draw_prompt(random, "train")
        judged = assess(prompt, write_response(prompt, random, CLEAN), finished=True)
        assert judged.count("wrong", "mistake") == 0
