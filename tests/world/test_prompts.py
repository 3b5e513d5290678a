from random import Random

import pytest

from truing.errors import ConfigError
from truing.world import prompts
from truing.world.build import write_texts
from truing.world.writer import CLEAN, MIXTURE


def test_there_are_thousands_to_train_on_and_more_than_a_thousand_to_test_on():
    assert len(prompts("train")) >= 4000
    assert len(prompts("test")) >= 1000


def test_no_prompt_is_in_both_splits_or_twice_in_one():
    train, test = ({prompt.text for prompt in prompts(split)} for split in ("train", "test"))
    assert not train & test
    assert (len(train), len(test)) == (len(prompts("train")), len(prompts("test")))


def test_both_kinds_are_equally_many():
    for split in ("train", "test"):
        kinds = [prompt.kind for prompt in prompts(split)]
        assert kinds.count("notes") == kinds.count("advice")


def test_the_text_that_the_model_learns_holds_no_test_prompt():
    test = {prompt.text for prompt in prompts("test")}
    texts = write_texts(Random(5), 2000, "train", MIXTURE) + write_texts(
        Random(6), 2000, "train", CLEAN
    )
    assert not test & {prompt for prompt, _ in texts}


def test_prompts_are_the_same_in_every_process():
    assert prompts("test")[0].text.startswith("Notes on the Golden Door, an inn: music dull")


def test_an_unknown_split_is_an_error_that_names_the_splits():
    with pytest.raises(ConfigError, match=r"train, test"):
        prompts("valid")
