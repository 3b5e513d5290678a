"""The supervised start: texts are learned, and preference training goes on from the run."""

import json
import math

import pytest
import torch

from truing import train
from truing.engine.models import load_model
from truing.errors import ConfigError, NeedsError
from truing.evaluation.texts import TextTable, evaluate_texts
from truing.jobs.sft import sft

COMPLETIONS = ["I like tea.", "You may ask Mia.", "It rains today."]


@pytest.fixture(scope="module")
def texts(world_pairs, tmp_path_factory):
    """Prompt and completion, of the same prompts as the pairs."""
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    rows = [json.loads(line) for line in world_pairs.read_text().splitlines()]
    kept = [
        {"prompt": row["prompt"], "completion": COMPLETIONS[number % 3]}
        for number, row in enumerate(rows)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return path


@pytest.fixture(scope="module")
def started(least, texts, tmp_path_factory):
    output = tmp_path_factory.mktemp("sft") / "run"
    held = {"data": str(texts), "samples": 2}
    return sft(**{**least, "data": str(texts)}, output=output, evaluation=held)


@pytest.fixture(scope="module")
def adapted(least, texts, tmp_path_factory):
    output = tmp_path_factory.mktemp("sft-lora") / "run"
    return sft(**{**least, "data": str(texts), "lora": {"rank": 4}}, output=output)


def test_the_loss_on_held_out_texts_falls_and_is_told_with_intervals(started):
    found = started.evaluation
    assert found["nll"] < found["nll_low"] + found["nll"] < 2 * found["nll_high"]
    assert found["nll"] < 0.8 * found["nll_before"]
    assert found["nll_change"] == pytest.approx(found["nll"] - found["nll_before"])
    assert found["perplexity"] == pytest.approx(math.exp(found["nll"]))
    assert "Loss on held-out texts" in (started.output / "report.html").read_text()


def test_pairs_teach_their_chosen_responses_alone(least, tmp_path):
    found = sft(**least, output=tmp_path / "run")
    summary = json.loads((found.output / "data.json").read_text())["train"]
    assert (summary["pairs"], summary["responses"]) == (0, 24)


def test_preference_training_goes_on_from_a_supervised_run(started, least, tmp_path):
    found = train(**{**least, "model": str(started.output)}, output=tmp_path / "run")
    first = json.loads((found.output / "metrics.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)


@pytest.mark.parametrize("lora", [None, {"rank": 2}])
def test_preference_training_goes_on_from_a_supervised_run_of_adapters(
    adapted, least, tmp_path, lora
):
    keys = {**least, "model": str(adapted.output), "lora": lora}
    found = train(**keys, output=tmp_path / "run")
    first = json.loads((found.output / "metrics.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    before, after = (load_model(str(one.output), torch.float32) for one in (adapted, found))
    ids = torch.arange(5, 30)[None]
    with torch.no_grad():
        moved = (before(ids).logits - after(ids).logits).abs().max()
    assert 0 < float(moved) < 5


def test_texts_prefer_nothing(least, texts, tmp_path):
    keys = {**least, "data": str(texts), "output": tmp_path / "run"}
    with pytest.raises(NeedsError, match="texts to be learned"):
        sft(**keys, objective="dpo()")
    with pytest.raises(ConfigError, match="contradicts"):
        sft(**keys, texts=False)


def test_the_loss_of_texts_is_over_tokens_not_over_texts():
    table = TextTable(
        logp=torch.tensor([-2.0, -30.0]).numpy(),
        length=torch.tensor([1, 10]).numpy(),
        start=torch.tensor([-1.0, -43.0]).numpy(),
    )
    found = evaluate_texts(table).to_json()
    assert found["nll"] == pytest.approx(32 / 11)
    assert found["nll_before"] == pytest.approx(4.0)
    assert found["tokens"] == 11
