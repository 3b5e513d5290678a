from random import Random

import pytest

from truing.errors import ConfigError
from truing.world import KINDS, prompts, read_prompt
from truing.world.corpus import write_texts
from truing.world.prompts import draw_prompt
from truing.world.writer import CLEAN, MIXTURE

SPLITS = ("train", "tuning", "test")


def test_there_are_thousands_to_train_on_and_more_than_a_thousand_to_test_on():
    assert len(prompts("train")) >= 4000
    assert len(prompts("test")) >= 1000
    assert len(prompts("test", ("notes",))) >= 500
    assert len(prompts("tuning", KINDS)) >= 400


def test_no_prompt_is_in_two_splits_or_twice_in_one():
    texts = [prompt.text for split in SPLITS for prompt in prompts(split, KINDS)]
    assert len(set(texts)) == len(texts)


def test_kinds_come_in_turn_and_equally_often():
    for split in SPLITS:
        kinds = [prompt.kind for prompt in prompts(split, KINDS)]
        assert kinds[:4] == ["notes", "advice", "story", "notes"]
        assert len({kinds.count(kind) for kind in KINDS}) == 1


def test_without_a_word_the_short_kinds_are_meant():
    assert {prompt.kind for prompt in prompts("test")} == {"notes", "advice"}
    assert prompts("test", ("story",))[0] == prompts("test", KINDS)[2]


def test_the_text_that_the_models_learn_holds_no_prompt_to_tune_or_test_on():
    unseen = {prompt.text for split in ("tuning", "test") for prompt in prompts(split, KINDS)}
    texts = write_texts(Random(5), 2000, "train", MIXTURE, KINDS) + write_texts(
        Random(6), 2000, "train", CLEAN
    )
    assert not unseen & {prompt for prompt, _ in texts}


def test_a_kind_named_twice_is_drawn_twice_as_often():
    random = Random(0)
    drawn = [draw_prompt(random, "train", ("notes", "notes", "story")) for _ in range(600)]
    assert 350 < sum(prompt.kind == "notes" for prompt in drawn) < 450


def test_a_story_is_asked_for_with_a_hero_a_trait_and_a_place():
    prompt = read_prompt("Tell me a story about a shy fox and an inn.\n")
    assert prompt.kind == "story"
    assert (prompt.tale.trait, prompt.tale.hero, prompt.tale.place) == ("shy", "fox", "inn")


def test_prompts_are_the_same_in_every_process():
    assert prompts("test")[0].text.startswith("Notes on the Golden Door, an inn: music dull")


@pytest.mark.parametrize(
    ("split", "kinds", "known"),
    [("valid", KINDS, "train, tuning, test"), ("test", ("poem",), "notes, advice, story")],
)
def test_an_unknown_split_or_kind_is_an_error_that_names_them(split, kinds, known):
    with pytest.raises(ConfigError, match=known):
        prompts(split, kinds)
