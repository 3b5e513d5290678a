"""Where the prompt ends and what the response is: the same ids as TRL's, on people's rows."""

import json
from types import SimpleNamespace

import datasets
import pytest
from transformers import AutoTokenizer

from truing.data import prepare

from .sides import their_warnings, trl

ROWS = 40
PLAIN = ["tldr-ratings/test.jsonl", "persona/test.jsonl", "pandalm/test.jsonl"]
DIALOGUES = ["hh-harmless/test.jsonl", "ultrafeedback-sample/test.jsonl"]
# ChatML templates put a line break behind the last turn.
CHATML = {"smollm2-chatml", "tok512-chatml"}


def read(path):
    rows = []
    for line in path.read_text(encoding="utf-8").split("\n")[:ROWS]:
        row = json.loads(line)
        if row["chosen"] != row["rejected"] and all(_text(row[k]) for k in ("chosen", "rejected")):
            rows.append({key: row[key] for key in ("prompt", "chosen", "rejected")})
    return rows


def _text(speech):
    return (speech if isinstance(speech, str) else speech[-1]["content"]).strip()


def theirs(rows, tokenizer, **arguments):
    """What TRL's DPO trainer makes of rows: prompt, chosen and rejected ids."""
    settings = {"max_length": None, "truncation_mode": "keep_start", "dataset_num_proc": None}
    with their_warnings():
        table = trl().DPOTrainer._prepare_dataset(
            SimpleNamespace(_tokenizer=tokenizer),
            datasets.Dataset.from_list(rows),
            tokenizer,
            SimpleNamespace(**settings | arguments),
            "train",
        )
    return [(row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) for row in table]


def ours(rows, tokenizer, max_length=10**6, truncation="drop"):
    found = prepare(rows, tokenizer, max_length=max_length, truncation=truncation).examples
    return [(e.prompt.tolist(), *(ids.tolist() for ids in e.responses)) for e in found]


@pytest.fixture(scope="module", params=["gpt2", "mistral-v1", *sorted(CHATML)])
def tokenizer(request, shared):
    return AutoTokenizer.from_pretrained(shared / "data" / "tokenizers" / request.param)


@pytest.mark.parametrize("name", PLAIN)
def test_texts_have_the_same_ids(name, tokenizer, shared):
    rows = read(shared / "data/preferences" / name)
    assert ours(rows, tokenizer) == theirs(rows, tokenizer)


@pytest.mark.parametrize("name", DIALOGUES)
def test_conversations_have_the_same_ids_up_to_what_follows_the_end_token(name, tokenizer, shared):
    if tokenizer.chat_template is None:
        tokenizer = AutoTokenizer.from_pretrained(shared / "data/tokenizers/mistral-v1")
    rows = [row for row in read(shared / "data/preferences" / name) if _takes_turns(row)]
    mine, other = ours(rows, tokenizer), theirs(rows, tokenizer)
    if tokenizer.convert_tokens_to_ids("<|im_end|>") != tokenizer.eos_token_id:
        assert mine == other
        return
    # A model stops at the end token: the line break behind it is never sampled.
    for (prompt, *responses), (their_prompt, *their_responses) in zip(mine, other, strict=True):
        assert prompt == their_prompt
        for response, one in zip(responses, their_responses, strict=True):
            assert response[-1] == tokenizer.eos_token_id
            assert response == one[: len(response)]
            assert tokenizer.decode(one[len(response) :]) == "\n"


def _takes_turns(row):
    """Whether a strict template takes the row."""
    roles = [turn["role"] for turn in row["prompt"]]
    return roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]


@pytest.mark.parametrize("limit", [40, 60])
def test_cut_keeps_what_their_keep_start_keeps(limit, shared):
    tokenizer = AutoTokenizer.from_pretrained(shared / "data/tokenizers/mistral-v1")
    rows = read(shared / "data/preferences/pandalm/test.jsonl")
    kept = [
        (prompt, chosen[: limit - len(prompt)], rejected[: limit - len(prompt)])
        for prompt, chosen, rejected in theirs(rows, tokenizer, max_length=limit)
    ]
    mine = ours(rows, tokenizer, max_length=limit, truncation="cut")
    # Where cutting made both sides the same, there is nothing to learn.
    assert mine == [row for row in kept if row[1] != row[2]]
    assert len(mine) < len(rows), "some prompts fill the limit"
