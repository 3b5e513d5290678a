"""What is computed once is found again by every run that may use it, and by no other."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from truing.errors import ConfigError
from truing.jobs.references import compute


@pytest.fixture
def keys(start, pairs):
    return {"model": start, "data": str(pairs)}


@pytest.fixture
def filled(keys):
    done = compute(**keys)
    assert (done.computed, done.stored) == (32, 0)
    return done


@pytest.mark.parametrize(
    "changed",
    [
        {"learning_rate": 1e-3, "epochs": 3.0, "pairs_per_step": 2, "tokens_per_device": 999},
        {"objective": "dpo(beta=7.0)", "output": "elsewhere"},
        {"objective": "sampo(beta=0.1) + 0.2*sft()", "seed": 9, "shuffle": False},
        {"lora": {"rank": 2}, "trainer": {"warmup_steps": 3}},
    ],
)
def test_a_setting_that_changes_no_log_prob_misses_nothing(filled, keys, changed):
    again = compute(**{**keys, **changed})
    assert (again.computed, again.stored) == (0, 32)
    assert again.size_after == filled.size_after


def test_row_order_subsets_and_further_rows_share_what_is_there(filled, keys, pairs, tmp_path):
    lines = pairs.read_text().splitlines()
    more = json.dumps({"prompt": "Say something.", "chosen": "Something.", "rejected": "No."})
    for name, some, computed in (
        ("backwards", lines[::-1], 0),
        ("part", lines[3:7], 0),
        ("more", [*lines[8:], more], 2),
    ):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(some) + "\n")
        done = compute(**{**keys, "data": str(path)})
        assert done.computed == computed
        assert done.responses == 2 * len(some)


def test_a_template_that_gives_the_same_ids_hits(filled, keys, start, pairs, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(start)
    begin = tokenizer("").input_ids[:1] and "{{ bos_token }}"
    tokenizer.chat_template = (
        (begin or "") + "{% for m in messages %}{{ m.content }}"
        "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    )
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    lines = []
    for row in map(json.loads, pairs.read_text().splitlines()):
        line = {"prompt": [{"role": "user", "content": row["prompt"]}]}
        for side in ("chosen", "rejected"):
            line[side] = [{"role": "assistant", "content": row[side]}]
        lines.append(json.dumps(line))
    chat = tmp_path / "chat.jsonl"
    chat.write_text("\n".join(lines) + "\n")
    done = compute(**{**keys, "data": str(chat), "tokenizer": str(tmp_path / "tokenizer")})
    assert (done.computed, done.stored) == (0, 32)


def test_a_copy_of_the_same_weights_hits_under_any_name(filled, keys, copied):
    assert compute(**{**keys, "model": str(copied)}).computed == 0
    named = f"model(path={str(copied)!r})"
    assert compute(**keys, reference=named).computed == 0


@pytest.mark.parametrize("changed", [{"dtype": "float64"}, {"engine": "padded"}])
def test_another_numerics_class_misses(filled, keys, changed):
    assert compute(**{**keys, **changed}).computed == 32


def test_other_token_ids_miss(filled, keys, pairs, tmp_path):
    path = tmp_path / "other.jsonl"
    path.write_text(pairs.read_text().replace("I would say", "I should say"))
    done = compute(**{**keys, "data": str(path)})
    assert (done.computed, done.stored) == (16, 16)


def test_one_changed_weight_misses(filled, keys, start, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(start)
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1e-3
    model.save_pretrained(tmp_path / "other")
    AutoTokenizer.from_pretrained(start).save_pretrained(tmp_path / "other")
    assert compute(**{**keys, "model": str(tmp_path / "other")}).computed == 32


def test_a_torch_of_another_minor_version_misses(source):
    from dataclasses import replace

    assert replace(source.key, torch="2.99").name != source.key.name
    assert replace(source.key, quantisation="nf4").name != source.key.name


def test_an_objective_without_reference_has_nothing_to_compute(keys):
    with pytest.raises(ConfigError, match="reads no reference"):
        compute(**keys | {"objective": "simpo()"})
