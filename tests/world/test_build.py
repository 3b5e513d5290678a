import json
from dataclasses import asdict, replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from truing.world import KINDS, MODELS, SHORT, manifest
from truing.world.build import PART, PLANS, Cycle, Phase, Plan, build

TINY = Plan(
    what="a trial",
    cycles=(
        Cycle((Phase("clean", 2, SHORT), Phase("mixture", 2, SHORT)), 4e-3),
        Cycle((Phase("clean", 1, SHORT), Phase("mixture", 1, KINDS)), 3e-3),
    ),
    family="olmo2",
    hidden=32,
    layers=1,
    vocabulary=900,
    tokenizer_kinds=KINDS,
    step_tokens=512,
    tokenizer_texts=300,
    speech_prompts=2,
)

MUTE = replace(TINY, speech_prompts=0)


def plain(plan):
    return json.loads(json.dumps(asdict(plan)))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    lines = []
    return folder, build("foreign", folder, TINY, lines.append), lines


def test_it_writes_a_folder_that_transformers_loads(built):
    folder, _, _ = built
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.config.vocab_size == len(tokenizer) == 900
    assert tokenizer.eos_token_id == model.config.eos_token_id == 0


def test_the_manifest_on_disk_is_what_it_returns(built):
    folder, told, _ = built
    assert json.loads((folder / "manifest.json").read_text()) == told
    assert told["plan"] == plain(TINY)
    assert told["script"] == "python -m truing.world.build --model foreign"


def test_a_build_that_was_stopped_goes_on_to_the_same_weights(built, tmp_path):
    _, told, _ = built

    class StopError(Exception):
        pass

    def stop_at_the_second_cycle(line):
        if "cycle 2" in line:
            raise StopError

    with pytest.raises(StopError):
        build("foreign", tmp_path, MUTE, stop_at_the_second_cycle)
    kept = torch.load(tmp_path / PART, weights_only=True)
    assert [cycle["data_sha256"] for cycle in kept["facts"]] == [told["training"][0]["data_sha256"]]
    lines = []
    again = build("foreign", tmp_path, MUTE, lines.append)
    assert lines[0] == "going on after cycle 1"
    assert again["sha256"] == told["sha256"]
    hashes = [[cycle["data_sha256"] for cycle in one["training"]] for one in (again, told)]
    assert hashes[0] == hashes[1]
    assert not (tmp_path / PART).exists()


@pytest.mark.parametrize("name", MODELS)
def test_the_package_holds_the_weights_of_the_plan_as_it_stands(name):
    assert manifest(name)["plan"] == plain(PLANS[name])
