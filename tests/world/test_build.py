import json
from dataclasses import asdict

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from truing.world import manifest
from truing.world.build import Plan, build

TINY = Plan(
    hidden=32,
    layers=1,
    vocabulary=512,
    clean_steps=2,
    mixture_steps=2,
    again_clean_steps=1,
    again_mixture_steps=1,
    step_tokens=512,
    tokenizer_texts=300,
    speech_prompts=2,
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    lines = []
    return folder, build(folder, TINY, lines.append), lines


def test_it_writes_a_folder_that_transformers_loads(built):
    folder, _, _ = built
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.config.vocab_size == len(tokenizer) == 512
    assert tokenizer.eos_token_id == model.config.eos_token_id == 0


def test_the_manifest_on_disk_is_what_it_returns(built):
    folder, told, _ = built
    assert json.loads((folder / "manifest.json").read_text()) == told
    assert told["plan"] == asdict(TINY)


def test_the_same_plan_gives_the_same_weights(built, tmp_path):
    _, told, _ = built
    again = build(tmp_path, TINY, lambda line: None)
    assert again["sha256"] == told["sha256"]
    for one, other in zip(again["training"], told["training"], strict=True):
        assert one["data_sha256"] == other["data_sha256"]


def test_the_package_holds_the_weights_of_the_plan_as_it_stands():
    assert manifest()["plan"] == asdict(Plan())
