"""Every set of the shared preferences loads with the counts of its README."""

from collections import Counter
from itertools import islice

import pytest

from truing.core import Needs
from truing.data import prepare, read_rows
from truing.data.signal import silence_of
from truing.errors import ModelError

COUNTS = {
    "tldr-ratings/train.jsonl.gz": ("pair", 9970),
    "tldr-ratings/test.jsonl": ("pair", 1014),
    "tldr-ratings/kwise-train.jsonl": ("kwise", 572),
    "tldr-ratings/kwise-test.jsonl": ("kwise", 51),
    "hh-harmless/train.jsonl": ("pair", 1791),
    "hh-harmless/test.jsonl": ("pair", 516),
    "ultrafeedback-sample/train.jsonl": ("pair", 994),
    "ultrafeedback-sample/test.jsonl": ("pair", 100),
    "qa-feedback/train.jsonl.gz": ("pair", 2092),
    "qa-feedback/test.jsonl": ("pair", 257),
    "qa-feedback/kwise-train.jsonl": ("kwise", 400),
    "qa-feedback/kwise-test.jsonl": ("kwise", 50),
    "pandalm/train.jsonl": ("pair", 643),
    "pandalm/test.jsonl": ("pair", 193),
    "llmbar/test.jsonl": ("pair", 419),
    "llmbar/casestudy.jsonl": ("pair", 315),
    "persona/train.jsonl": ("pair", 4904),
    "persona/test.jsonl": ("pair", 1171),
    "blimp/train.jsonl": ("pair", 6700),
    "blimp/test.jsonl": ("pair", 3350),
    "blimp/prefix-train.jsonl": ("pair", 2000),
    "blimp/prefix-test.jsonl": ("pair", 1000),
    "imdb-sentiment/train.jsonl": ("pair", 201),
    "imdb-sentiment/test.jsonl": ("pair", 49),
    "imdb-sentiment/kwise-train.jsonl": ("kwise", 202),
    "imdb-sentiment/kwise-test.jsonl": ("kwise", 50),
    "imdb-sentiment/unpaired-train.jsonl": ("unpaired", 2050),
    "imdb-sentiment/unpaired-test.jsonl": ("unpaired", 493),
    "toxicity/train.jsonl": ("pair", 206),
    "toxicity/test.jsonl": ("pair", 50),
    "toxicity/kwise-train.jsonl": ("kwise", 206),
    "toxicity/kwise-test.jsonl": ("kwise", 50),
    "toxicity/unpaired-train.jsonl": ("unpaired", 1030),
    "toxicity/unpaired-test.jsonl": ("unpaired", 250),
    "llamafactory-demos/dpo_en_demo.json": ("pair", 300),
    "llamafactory-demos/kto_en_demo.json": ("unpaired", 300),
    "llamafactory-demos/v1_dpo_demo.jsonl": ("pair", 10),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_set_has_the_rows_that_its_readme_counts(name, shared):
    kind, count = COUNTS[name]
    kinds = [row.kind for row in read_rows(shared / "data/preferences" / name)]
    assert kinds == [kind] * count


@pytest.mark.parametrize("name", COUNTS)
def test_a_set_becomes_examples_that_end_with_the_end_token(name, shared, tokenizer):
    chosen = tokenizer("smollm2-chatml")
    rows = islice(_records(shared / "data/preferences" / name), 30)
    prepared = prepare(list(rows), chosen, max_length=100_000)
    assert prepared.summary.rows >= 8
    for example in prepared.examples:
        assert len(example.prompt) >= 1
        assert all(response[-1] == chosen.eos_token_id for response in example.responses)
        assert not any(example.cut)


def test_counts_of_empty_and_tied_rows_are_those_of_the_readmes(shared, tokenizer):
    folder = shared / "data/preferences"

    def silent(name, **needs):
        rows = read_rows(folder / name)
        return Counter(silence_of(row, Needs(**needs)) for row in rows)

    assert silent("hh-harmless/train.jsonl")["empty"] == 4
    assert silent("tldr-ratings/kwise-train.jsonl")["no_pair"] == 5  # three have one response
    assert silent("ultrafeedback-sample/train.jsonl", scores="ordered")["tie"] == 110
    votes = prepare(folder / "pandalm/test.jsonl", tokenizer("gpt2"), max_length=100_000).summary
    assert votes.duplicates == 13


def test_conversations_without_a_chat_template_are_one_clear_error(shared, tokenizer):
    source = shared / "data/preferences/hh-harmless/test.jsonl"
    with pytest.raises(ModelError, match="the tokenizer has no chat template"):
        prepare(source, tokenizer("gpt2"), max_length=512)


def _records(path):
    import json

    text = path.read_text(encoding="utf-8") if path.suffix != ".gz" else _unzipped(path)
    if path.suffix == ".json":
        yield from json.loads(text)
    else:
        for line in text.split("\n"):
            if line.strip():
                yield json.loads(line)


def _unzipped(path):
    import gzip

    return gzip.decompress(path.read_bytes()).decode()
