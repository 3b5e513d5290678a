"""Models whose family no packed row fits: they are trained on the padded path, and told so."""

import json
import math
from dataclasses import replace

import pytest
from transformers import AutoTokenizer

from truing import train
from truing.engine.architectures import ARCHITECTURES
from truing.errors import FitError, ModelError
from truing.world import model_folder, prompts

BY_NAME = {architecture.name: architecture for architecture in ARCHITECTURES}
PASSES = 200  # tokens: more than any row of `written` but the long one needs


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """A tiny model of a family, with the tokenizer of the embedded world."""
    tokenizer = AutoTokenizer.from_pretrained(str(model_folder()))
    special = {
        name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")
    }

    def make(name):
        folder = tmp_path_factory.mktemp(name)
        own = BY_NAME[name]
        settings = {**own.settings, **special, "vocab_size": len(tokenizer)}
        if "n_positions" in settings:
            settings["n_positions"] = 512
        replace(own, settings=settings).build().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return str(folder)

    return make


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Eight pairs, and in the second file one behind them that padding makes twice as long."""
    folder = tmp_path_factory.mktemp("rows")
    sentence = "I would say that it is good. "
    rows = [
        {"prompt": prompt.text, "chosen": f"It is {number}.", "rejected": "No."}
        for number, prompt in enumerate(prompts("train")[:8])
    ]
    long = {"prompt": rows[0]["prompt"], "chosen": 15 * sentence, "rejected": "No."}
    files = folder / "short.jsonl", folder / "long.jsonl"
    for path, few in zip(files, (rows, [*rows, long]), strict=True):
        path.write_text("".join(json.dumps(row) + "\n" for row in few))
    return files


LEAST = {"pairs_per_step": 4, "learning_rate": 1e-3, "trainer": {"save_strategy": "no"}}


@pytest.mark.parametrize("name", ["mamba", "gptj", "bloom"])
def test_a_family_that_falls_back_is_trained(name, folder_of, written, tmp_path):
    result = train(
        model=folder_of(name), data=str(written[0]), output=tmp_path / "run", epochs=2, **LEAST
    )
    lines = [json.loads(x) for x in (result.output / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 4
    assert losses[0] == pytest.approx(math.log(2), abs=1e-5)
    assert losses[-1] < losses[0]
    assert result.notes[-1].startswith("engine: padded, as layer 0 (")


def test_an_engine_that_a_family_does_not_take_is_refused_by_its_layer(
    folder_of, written, tmp_path
):
    with pytest.raises(ModelError, match=r"engine=shared is not exact .* layer 0 \(linear_att"):
        train(
            model=folder_of("mamba"),
            data=str(written[0]),
            output=tmp_path / "run",
            engine="shared",
            **LEAST,
        )


@pytest.mark.parametrize("is_held", [False, True], ids=["to learn", "held out"])
def test_a_row_over_the_budget_of_the_engine_at_hand_stops_before_training(
    is_held, folder_of, written, tmp_path
):
    short, long = map(str, written)
    data = {"data": short, "evaluation": {"data": long}} if is_held else {"data": long}
    with pytest.raises(FitError, match=r"needs \d+ tokens .*engine: padded, as") as met:
        train(
            model=folder_of("gptj"),
            output=tmp_path / "run",
            tokens_per_device=PASSES,
            shuffle=False,
            **data,
            **LEAST,
        )
    assert met.value.where == f"{long} row 9"
    assert not (tmp_path / "run").exists()
    # The same rows fit where nothing is padded.
    least = {**LEAST, "model": str(model_folder()), "tokens_per_device": PASSES}
    assert train(output=tmp_path / "shared", **data, **least).finished


def test_what_the_policy_says_for_its_divergence_fits_one_pass(folder_of, written, tmp_path):
    # This model never ends what it says: 512 tokens with the prompt, were there no budget.
    result = train(
        model=folder_of("gptj"),
        data=str(written[0]),
        output=tmp_path / "run",
        tokens_per_device=PASSES,
        evaluation={"data": str(written[0]), "rows": 2, "samples": 1, "every": 1},
        checks={"kl": 1e9},
        **LEAST,
    )
    assert result.evaluation["kl"] >= 0
