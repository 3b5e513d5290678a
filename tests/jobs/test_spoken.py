"""Talking to a run: streamed as it is sampled, beside its start, and away in one folder."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from truing import train
from truing.config import build_config
from truing.engine.models import load_model, load_tokenizer
from truing.errors import ConfigError, ResumeError
from truing.jobs.card import CardFacts
from truing.jobs.chat import open_conversation
from truing.jobs.export import export
from truing.jobs.generate import generate
from truing.jobs.public import public_config
from truing.responses import Response, Sampling, sample
from truing.responses.stream import stream
from truing.world import model_folder, prompts

QUESTION = prompts("test")[0].text
SHORT = Sampling(max_new_tokens=24)


@pytest.fixture(scope="module")
def tuned(least, world_pairs, tmp_path_factory):
    output = tmp_path_factory.mktemp("spoken") / "tuned"
    held = {"data": str(world_pairs), "rows": 8, "samples": 0}
    train(**{**least, "learning_rate": 3e-3}, output=output, evaluation=held)
    return output


@pytest.fixture(scope="module")
def adapted(least, tmp_path_factory):
    output = tmp_path_factory.mktemp("spoken") / "adapted"
    train(**{**least, "learning_rate": 3e-3, "lora": {"rank": 2}}, output=output)
    return output


@pytest.fixture(scope="module")
def start():
    return load_model(str(model_folder()), torch.float32), load_tokenizer(str(model_folder()))


def test_what_is_streamed_is_what_is_sampled(start):
    model, tokenizer = start
    ids = tokenizer(QUESTION).input_ids
    [[whole]] = sample(model, tokenizer, [ids], sampling=SHORT, seed=3)
    *pieces, last = stream(model, tokenizer, ids, sampling=SHORT, seed=3)
    assert last.tokens == whole.tokens
    assert "".join(pieces) == whole.text == last.text
    assert len(pieces) > 3


def test_responses_are_a_line_each_and_the_seed_decides(tuned, tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": one.text}) + "\n" for one in prompts("test")[:3]))
    two = Sampling(num_responses=2, max_new_tokens=12)
    lines = [line.to_json() for line in generate(str(tuned), str(path), sampling=two, rows=2)]
    again = [line.to_json() for line in generate(str(tuned), str(path), sampling=two, rows=2)]
    other = [line.to_json() for line in generate(str(tuned), str(path), sampling=two, seed=1)]
    assert lines == again != other[:4]
    assert [line["number"] for line in lines] == [0, 1, 0, 1]
    assert lines[0]["prompt"] == QUESTION


def test_a_run_stands_beside_its_start(tuned):
    conversation = open_conversation(str(tuned), sampling=Sampling(temperature=0))
    said = {name: list(pieces) for name, pieces in conversation.ask(QUESTION).items()}
    assert list(said) == ["start", "tuned"]
    texts = [pieces[-1].text for pieces in said.values()]
    assert texts[0] != texts[1]
    assert all(isinstance(pieces[-1], Response) for pieces in said.values())


def test_of_adapters_the_start_is_what_they_stand_on(adapted, start):
    before, after = open_conversation(str(adapted)).speakers
    ids = torch.arange(5, 30)[None]
    with torch.no_grad():
        first, one, other = (m(ids).logits for m in (start[0], before.model, after.model))
    assert torch.equal(first, one)
    assert (one - other).abs().max() > 1e-4


def test_a_run_stands_beside_another_or_alone(tuned):
    both = open_conversation(str(tuned), compare=str(model_folder()))
    assert list(both.ask(QUESTION)) == [model_folder().name, "tuned"]
    assert list(open_conversation(str(tuned), is_alone=True).ask(QUESTION)) == ["tuned"]
    with pytest.raises(ConfigError, match="compared with nothing"):
        open_conversation(str(tuned), compare="x", is_alone=True)
    with pytest.raises(ConfigError, match="its start is not known"):
        open_conversation(str(model_folder()))
    with pytest.raises(ConfigError, match="plain text anyway"):
        open_conversation(str(tuned), is_plain=True)


TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def test_with_a_chat_template_each_model_remembers_its_own_words(tuned, tmp_path):
    model, tokenizer = load_model(str(tuned), torch.float32), load_tokenizer(str(tuned))
    tokenizer.chat_template = TEMPLATE
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    asked = open_conversation(str(tmp_path), is_alone=True, sampling=SHORT, system="Be brief.")
    [speaker] = asked.speakers
    first = list(next(iter(asked.ask("One?").values())))[-1].text
    list(next(iter(asked.ask("Two?").values())))
    turns = asked.history(speaker)
    assert [turn.role for turn in turns] == ["system", *["user", "assistant"] * 2]
    assert turns[2].content == first
    asked.forget()
    assert len(asked.history(speaker)) == 1


# ------------------------------------------------------------------ away


def fields(folder: Path) -> dict:
    text = (folder / "README.md").read_text()
    return yaml.safe_load(text.split("---")[1])


def test_an_export_is_the_run_with_a_card_of_data_objective_and_measures(tuned, tmp_path):
    facts = CardFacts("Tuned", "apache-2.0", "", ("en",), ("owner/pairs",), "owner/base")
    found = export(tuned, tmp_path / "out", facts=facts)
    ids = torch.arange(5, 30)[None]
    models = [AutoModelForCausalLM.from_pretrained(one) for one in (tuned, found.output)]
    assert torch.equal(*(model(ids).logits for model in models))
    assert AutoTokenizer.from_pretrained(found.output)("Is it?") is not None
    head = fields(found.output)
    assert (head["license"], head["base_model"]) == ("apache-2.0", "owner/base")
    assert head["datasets"] == ["owner/pairs"]
    card = (found.output / "README.md").read_text()
    for words in (
        "24 pairs",
        "-log sigmoid",
        "| reward accuracy |",
        "On `pairs.jsonl` (8 of them)",
    ):
        assert words in card
    assert str(tuned.parent) not in card + (found.output / "run.yaml").read_text()
    assert yaml.safe_load((found.output / "run.yaml").read_text())["model"] == "owner/base"


def test_adapters_are_merged_or_kept_as_they_are(adapted, tmp_path):
    merged = export(adapted, tmp_path / "merged")
    facts = CardFacts(base="owner/base")
    kept = export(adapted, tmp_path / "kept", facts=facts, keeps_adapters=True)
    assert not (merged.output / "adapter_config.json").exists()
    assert (kept.output / "adapter_config.json").exists()
    assert kept.weights_bytes < merged.weights_bytes
    ids = torch.arange(5, 30)[None]
    with torch.no_grad():
        one, other = (
            load_model(str(p), torch.float32)(ids).logits for p in (adapted, merged.output)
        )
    assert (one - other).abs().max() < 1e-4
    assert len({file.stat().st_mode for file in merged.output.iterdir()}) == 1
    assert "license" not in fields(merged.output)
    assert "Not stated" in (merged.output / "README.md").read_text()


def test_adapters_name_a_base_that_others_have_and_the_card_what_came_before(
    adapted, least, tmp_path
):
    facts = CardFacts(base="owner/base")
    kept = export(adapted, tmp_path / "kept", facts=facts, keeps_adapters=True).output
    texts = {
        file.name: file.read_text() for file in kept.iterdir() if file.suffix != ".safetensors"
    }
    assert json.loads(texts["adapter_config.json"])["base_model_name_or_path"] == "owner/base"
    assert [name for name, text in texts.items() if str(model_folder()) in text] == []
    with pytest.raises(ConfigError, match=r"nobody else has(.|\n)*--base"):
        export(adapted, tmp_path / "out", keeps_adapters=True)
    keys = {**least, "model": str(adapted), "lora": {"rank": 2}, "epochs": 0.2}
    second = train(**keys, output=tmp_path / "second").output
    card = (export(second, tmp_path / "merged").output / "README.md").read_text()
    assert "Begun from `adapted`: `dpo(beta=0.1)` on `pairs.jsonl`" in card
    with pytest.raises(ConfigError, match="weights of the run's own"):
        export(second, tmp_path / "out", facts=facts, keeps_adapters=True)


def test_no_place_of_this_machine_leaves_it_in_the_configuration(tmp_path):
    there = tmp_path / "pairs.jsonl"
    config = build_config(
        {
            "model": str(tmp_path / "start"),
            "data": [{"path": str(there), "weight": 3}],
            "output": str(tmp_path / "run"),
            "reference": f"several([policy_start(), model(path='{tmp_path}/better')])",
            "auxiliary": {"stories": str(there)},
            "trainer": {"logging_dir": f"{tmp_path}/logs"},
        }
    )
    text = public_config(config, "owner/base")
    assert str(tmp_path) not in text
    shown = yaml.safe_load(text)
    assert shown["model"] == "owner/base"
    assert shown["data"] == [{"path": "pairs.jsonl", "weight": 3.0}]
    assert shown["reference"] == "several([policy_start(), model(path='better')])"
    assert shown["auxiliary"] == {"stories": "pairs.jsonl"}


def test_half_the_bytes_in_bfloat16(tuned, tmp_path):
    small = export(tuned, tmp_path / "small", dtype="bfloat16")
    assert small.weights_bytes == pytest.approx(
        export(tuned, tmp_path / "whole").weights_bytes / 2, rel=0.1
    )


def test_options_without_effect_and_runs_that_are_none_are_refused(tuned, tmp_path):
    with pytest.raises(ConfigError, match="no adapters to keep"):
        export(tuned, tmp_path / "out", keeps_adapters=True)
    with pytest.raises(ConfigError, match="nobody's to see"):
        export(tuned, tmp_path / "out", is_public=True)
    with pytest.raises(ConfigError, match="float8 is none of"):
        export(tuned, tmp_path / "out", dtype="float8")
    with pytest.raises(ResumeError, match="no finished run"):
        export(model_folder(), tmp_path / "out")


def test_without_a_network_nothing_is_written_and_the_remedy_is_told(tuned, tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be pushed(.|\n)*hf auth login"):
        export(tuned, tmp_path / "out", push="owner/name")
    assert not (tmp_path / "out").exists()
