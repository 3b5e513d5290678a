from random import Random

import numpy as np
import pytest

from truing.world import KINDS, assess, prompts, score
from truing.world.prompts import draw_prompt
from truing.world.tales import CRUELTIES, ENDINGS, OPENINGS, SCENES
from truing.world.writer import STYLES, write_response

STORY = "Tell me a story about a shy fox and a mill.\n"
OPENING = "Once there was a shy fox."
SCENE = "The fox found an old key on the road."
OTHER_SCENE = "The fox heard soft music behind the mill."
ENDING = "From that day on the fox was never alone."


def kinds(*sentences):
    judged = assess(STORY, " ".join(sentences), finished=True)
    return [verdict.kind for verdict in judged.verdicts]


def value(*sentences):
    return score(STORY, " ".join(sentences), finished=True)


def test_opening_scenes_and_ending_in_their_order_make_a_story():
    assert kinds(OPENING, SCENE, OTHER_SCENE, ENDING) == ["scene"] * 4


def test_an_opening_that_comes_late_and_a_scene_after_the_end_are_misplaced():
    assert kinds(SCENE, OPENING) == ["scene", "misplaced"]
    assert kinds(SCENE, ENDING, OTHER_SCENE) == ["scene", "scene", "misplaced"]
    assert value(SCENE, OPENING) < value(OPENING, SCENE)


@pytest.mark.parametrize(
    "astray",
    [
        "The bear found an old key on the road.",
        "The fox heard soft music behind the castle.",
        "Once there was a brave fox.",
    ],
    ids=["hero", "place", "trait"],
)
def test_a_sentence_on_another_hero_place_or_trait_is_off_topic(astray):
    assert kinds(astray) == ["off topic"]


def test_a_cruel_hero_costs_what_a_scene_gains():
    assert kinds("The fox threw stones at the birds.") == ["cruelty"]
    assert value(SCENE, "The fox threw stones at the birds.") < value(SCENE)


def test_a_story_may_be_long_and_good_but_not_endless():
    scenes = [form.format(hero="fox", place="mill") for form in SCENES]
    assert value(*scenes[:8]) > value(*scenes[:2])
    assert value(*scenes[:20]) < value(*scenes[:10])


def test_what_is_told_in_a_story_is_off_topic_in_advice_and_notes():
    for prompt in prompts("test")[:2]:
        assert assess(prompt, SCENE, finished=True).count("off topic") == 1


def test_every_form_has_its_own_words():
    forms = [*OPENINGS, *SCENES, *ENDINGS, *CRUELTIES]
    assert len(set(forms)) == len(forms) >= 40


@pytest.mark.parametrize("kind", KINDS)
def test_length_says_little_of_quality_in_any_kind(kind):
    random = Random(4)
    words, scores = [], []
    for _ in range(1500):
        prompt = draw_prompt(random, "train", (kind,))
        text = write_response(prompt, random)
        judged = assess(prompt, text, finished=True)
        assert judged.count("broken") == 0
        words.append(len(text.split()))
        scores.append(judged.score)
    assert abs(np.corrcoef(words, scores)[0, 1]) < 0.17


def test_cleaner_text_is_better_than_the_mixture_and_worse_than_clean_text():
    means = {}
    for name, style in STYLES.items():
        random = Random(5)
        drawn = [draw_prompt(random, "train", KINDS) for _ in range(600)]
        texts = [write_response(prompt, random, style) for prompt in drawn]
        scores = [score(p, text, finished=True) for p, text in zip(drawn, texts, strict=True)]
        means[name] = np.mean(scores)
    assert means["mixture"] + 0.3 < means["cleaner"] < means["clean"] - 0.3
