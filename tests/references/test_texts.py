"""A reference with another tokenizer: the same text under its own tokens, one sum a response."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from truing import evaluate, train
from truing.errors import NeedsError
from truing.jobs.check import check
from truing.references.texts import means_the_same


@pytest.fixture(scope="module")
def stranger(shared, tmp_path_factory):
    """A tiny model with fresh weights and the tokenizer of SmolLM2."""
    folder = tmp_path_factory.mktemp("stranger")
    tokenizer = AutoTokenizer.from_pretrained(shared / "data/tokenizers/smollm2-chatml")
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=512,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).eval().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def keys(start, pairs, tmp_path):
    return {
        "model": start,
        "data": str(pairs),
        "output": tmp_path / "run",
        "pairs_per_step": 16,
        "shuffle": False,
        "trainer": {"save_strategy": "no"},
    }


def faults(keys, **more):
    """What a check finds wrong; no model is loaded for it."""
    return check({**keys, "output": str(keys["output"]), **more}).faults


def plain_sums(folder, rows):
    """Log-probs of the text by the plainest way there is."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = LlamaForCausalLM.from_pretrained(folder).eval()
    found = []
    for row in rows:
        sums = []
        for side in ("chosen", "rejected"):
            prompt = tokenizer(row["prompt"]).input_ids
            ids = [*tokenizer(row["prompt"] + row[side]).input_ids, tokenizer.eos_token_id]
            assert ids[: len(prompt)] == prompt
            with torch.no_grad():
                logps = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            tokens = range(len(prompt), len(ids))
            sums.append(sum(float(logps[t - 1, ids[t]]) for t in tokens))
        found.append(sums)
    return np.array(found)


def test_its_sums_are_those_of_the_text_and_enter_the_first_loss(keys, stranger, start, pairs):
    beta = 0.02
    result = train(
        **keys, objective=f"dpo(beta={beta})", reference=f"model(path={stranger!r})", epochs=0.01
    )
    line = json.loads((result.output / "metrics.jsonl").read_text().splitlines()[0])
    rows = [json.loads(text) for text in pairs.read_text().splitlines()]
    theirs = plain_sums(stranger, rows)
    other = plain_ours(start, rows)
    margins = beta * ((other - theirs)[:, 0] - (other - theirs)[:, 1])
    assert line["loss"] == pytest.approx(float(np.logaddexp(0, -margins).mean()), rel=1e-3)
    assert line["reference/log_ratio"] != 0
    assert "reference/kl" not in line
    alarms = (result.output / "alarms.jsonl").read_text()
    assert "far from the policy" in alarms


def plain_ours(start, rows):
    from transformers import AutoModelForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(start)
    model = AutoModelForCausalLM.from_pretrained(start).eval()
    begin = tokenizer("").input_ids[:1]
    begin = [] if begin == [tokenizer.eos_token_id] else begin
    found = []
    for row in rows:
        sums = []
        for side in ("chosen", "rejected"):
            prompt = begin + tokenizer(row["prompt"], add_special_tokens=False).input_ids
            whole = tokenizer(row["prompt"] + row[side], add_special_tokens=False).input_ids
            ids = [*begin, *whole, tokenizer.eos_token_id]
            with torch.no_grad():
                logps = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            sums.append(sum(float(logps[t - 1, ids[t]]) for t in range(len(prompt), len(ids))))
        found.append(sums)
    return np.array(found)


def test_one_beside_the_start_gives_sums_for_both(keys, stranger, pairs):
    result = train(
        **keys,
        objective="mrpo(alpha=0.2)",
        reference=f"several([policy_start(), model(path={stranger!r})])",
        evaluation={"data": str(pairs), "samples": 0},
    )
    line = json.loads((result.output / "metrics.jsonl").read_text().splitlines()[0])
    assert line["reference_1/log_ratio"] == pytest.approx(0.0, abs=1e-5)
    assert line["reference_2/log_ratio"] > 0.5
    found = evaluate(result.output, str(pairs))
    assert found["margin"] == pytest.approx(result.evaluation["margin"], abs=1e-4)


def test_rows_that_were_skipped_as_malformed_are_passed_over_again(keys, stranger, pairs, tmp_path):
    rows, bad = tmp_path / "rows.jsonl", tmp_path / "bad.jsonl"
    rows.write_text('{"prompt": "a", "chosen": 3}\n' + pairs.read_text())
    train(
        **(keys | {"data": str(rows)}),
        reference=f"model(path={stranger!r})",
        epochs=0.01,
        skip_bad=str(bad),
    )
    assert len(bad.read_text().splitlines()) == 1


@pytest.mark.parametrize("objective", ["sampo()", "wpo() + 0.1*tdpo()"])
def test_an_objective_of_tokens_refuses_it_before_a_model_loads(keys, stranger, objective):
    with pytest.raises(NeedsError, match="has another tokenizer"):
        train(**keys, objective=objective, reference=f"model(path={stranger!r})")
    assert not keys["output"].exists()


@pytest.mark.parametrize("truncation", ["cut", "keep_end", "keep_start"])
def test_rows_that_were_cut_are_refused(keys, stranger, truncation):
    reference = f"model(path={stranger!r})"
    with pytest.raises(NeedsError, match="cut at the length limit"):
        train(**keys, max_length=50, truncation=truncation, reference=reference)


def test_a_prompt_that_was_cut_matters_to_nobody_who_does_not_read_it(keys, stranger):
    reference = f"unconditional(model(path={stranger!r}))"
    assert not faults(keys, max_length=50, truncation="keep_end", reference=reference)


def test_held_out_rows_that_were_cut_are_refused_too(keys, stranger, pairs, tmp_path):
    short = tmp_path / "short.jsonl"
    short.write_text(json.dumps({"prompt": "So?", "chosen": " Yes.", "rejected": " No."}) + "\n")
    (fault,) = faults(
        keys,
        data=str(short),
        evaluation={"data": str(pairs)},
        max_length=50,
        truncation="keep_end",
        reference=f"model(path={stranger!r})",
    )
    assert "cut at the length limit" in fault.what


def test_one_that_follows_the_policy_cannot_stand_beside_it(keys, stranger):
    reference = f"several([ema(0.4), model(path={stranger!r})])"
    with pytest.raises(NeedsError, match="gives sums"):
        train(**keys, objective="mrpo(alpha=0.2)", reference=reference)


def test_the_same_ids_are_read_as_they_are_and_added_tokens_change_nothing(start, stranger):
    ours, theirs = AutoTokenizer.from_pretrained(start), AutoTokenizer.from_pretrained(stranger)
    grown = AutoTokenizer.from_pretrained(start)
    grown.add_tokens(["<a new token>"])
    assert means_the_same(ours, ours)
    assert means_the_same(ours, grown)
    assert means_the_same(grown, ours)
    assert not means_the_same(ours, theirs)


def test_a_check_names_what_another_tokenizer_makes_impossible(keys, stranger):
    reference = f"model(path={stranger!r})"
    (fault,) = faults(keys, objective="sampo()", reference=reference)
    assert "has another tokenizer" in fault.what


@pytest.mark.parametrize("limit", [24, 48])  # none of the rows, and some
def test_a_row_that_it_cannot_read_is_named_before_any_model_loads(keys, stranger, tmp_path, limit):
    folder = tmp_path / "short"
    shutil.copytree(stranger, folder)
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(described | {"max_position_embeddings": limit}))
    for file in folder.glob("*.safetensors"):
        file.write_bytes(b"never read")
    (fault,) = faults(keys, reference=f"model(path={str(folder)!r})")
    assert "cannot be read by the reference" in fault.what
    assert f"{keys['data']} row" in fault.what


def test_the_tokenizer_is_that_of_the_revision(keys, start, stranger):
    """A hub name of two revisions as it lies in the cache; the later one has other tokens."""
    place = Path(constants.HF_HUB_CACHE) / "models--team--two"
    (place / "refs").mkdir(parents=True)
    for name, folder, commit in (("main", start, "a" * 40), ("next", stranger, "b" * 40)):
        (place / "refs" / name).write_text(commit)
        shutil.copytree(folder, place / "snapshots" / commit)
    try:
        run = train(**keys, epochs=0.01, reference="model(path='team/two', revision='next')")
    finally:
        shutil.rmtree(place)
    line = json.loads((run.output / "metrics.jsonl").read_text().splitlines()[0])
    assert "reference/kl" not in line  # sums: its tokens are its own
    assert line["reference/distance"] > 0.5
