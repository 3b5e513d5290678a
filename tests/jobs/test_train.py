"""The whole way: rows in, weights and a report out, and everything on the way is kept."""

import html
import json
import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from truing import evaluate, recipes, train
from truing.config import build_config, read_config
from truing.errors import ConfigError, NeedsError, ResumeError, StoppedError
from truing.jobs.train import resume


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def losses(run):
    return [line["loss"] for line in lines(run) if "loss" in line]


@pytest.fixture(scope="module")
def finished(least, world_pairs, tmp_path_factory):
    output = tmp_path_factory.mktemp("finished") / "run"
    return train(
        **least,
        output=output,
        objective=recipes.dpo(beta=0.5),
        evaluation={"data": str(world_pairs), "rows": 8, "every": 3},
    )


def test_the_first_loss_is_that_of_policy_equal_to_reference(finished):
    assert lines(finished.output)[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)


def test_there_is_one_line_a_step_and_training_helps(finished):
    steps = [line for line in lines(finished.output) if "loss" in line]
    assert (
        [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6] == list(range(1, finished.steps + 1))
    )
    assert steps[-1]["loss"] < 0.5 * steps[0]["loss"]
    assert steps[-1]["rewards/margins"] > 1
    assert {"learning_rate", "grad_norm", "tokens", "logps_drift/chosen"} <= steps[0].keys()


def test_evaluation_during_training_is_written_beside_the_steps(finished):
    found = [line for line in lines(finished.output) if "eval/reward_accuracy" in line]
    assert [line["step"] for line in found] == [3, 6]


def test_responses_before_and_after_are_kept_to_be_read(least, world_pairs, tmp_path):
    result = train(
        **{**least, "learning_rate": 3e-3},
        output=tmp_path / "run",
        evaluation={"data": str(world_pairs), "samples": 6},
    )
    samples = [json.loads(x) for x in (result.output / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 6
    assert {"prompt", "before", "after", "tokens_before", "tokens_after"} <= samples[0].keys()
    assert any(one["before"] != one["after"] for one in samples)
    assert html.escape(samples[0]["before"][:40]) in (result.output / "report.html").read_text()


def test_a_finished_run_is_loaded_by_transformers(finished):
    model = AutoModelForCausalLM.from_pretrained(finished.output)
    tokenizer = AutoTokenizer.from_pretrained(finished.output)
    ids = tokenizer("Notes on", return_tensors="pt").input_ids
    assert torch.isfinite(model(ids).logits).all()
    assert list(finished.output.glob("*.safetensors"))
    assert not list(finished.output.rglob("training_args.bin"))


def test_evaluate_gives_plain_numbers_and_the_same_as_the_end_of_training(finished, world_pairs):
    found = evaluate(finished.output, str(world_pairs), rows=8)
    for name in ("reward_accuracy", "policy_accuracy", "margin", "pairs"):
        assert isinstance(found[name], int | float)
        assert found[name] == pytest.approx(finished.evaluation[name], abs=1e-5)
    assert found["reward_accuracy"] == 1.0
    assert found["margin_low"] < found["margin"] < found["margin_high"]


def test_the_run_folder_says_with_what_it_was_made_and_starts_again(finished, tmp_path):
    config = build_config(
        {**read_config(finished.output / "run.yaml"), "output": str(tmp_path / "b")}
    )
    assert config.objective == "dpo(beta=0.5)"
    assert (finished.output / "report.html").stat().st_size > 1000
    again = train(finished.output / "run.yaml", output=tmp_path / "again")
    assert losses(again.output) == losses(finished.output)


def test_every_micro_batch_layout_gives_the_same_weights(least, finished, tmp_path):
    other = train(
        **least, output=tmp_path / "run", objective="dpo(beta=0.5)", tokens_per_device=160
    )
    one, two = (
        AutoModelForCausalLM.from_pretrained(run).state_dict()
        for run in (finished.output, other.output)
    )
    for name, weight in one.items():
        # Adam divides by the root of its own square, so rounding shows a little in the weights.
        torch.testing.assert_close(weight, two[name], atol=2e-4, rtol=0)


def test_an_output_folder_in_use_is_refused(least, finished):
    with pytest.raises(ConfigError, match="something in the output folder already"):
        train(**least, output=finished.output)


def test_a_finished_run_is_not_resumed(finished, tmp_path):
    with pytest.raises(ResumeError, match="this run is finished"):
        resume(finished.output)
    with pytest.raises(ResumeError, match=r"holds no run\.yaml"):
        resume(tmp_path)


def test_adapters_are_trained_on_a_frozen_base(least, world_pairs, tmp_path):
    result = train(**least, output=tmp_path / "run", objective="dpo(beta=0.5)", lora={"rank": 4})
    assert (result.output / "adapter_model.safetensors").exists()
    assert not (result.output / "model.safetensors").exists()
    assert lines(result.output)[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert evaluate(result.output, str(world_pairs))["reward_accuracy"] > 0.9


def test_a_reference_free_objective_loads_no_reference(least, tmp_path):
    result = train(**least, output=tmp_path / "run", objective="simpo(beta=2.0)", epochs=0.5)
    assert "logps_drift/chosen" not in lines(result.output)[0]
    with pytest.raises(ConfigError, match="would have no effect"):
        train(
            **least,
            output=tmp_path / "other",
            objective="simpo(beta=2.0)",
            reference="model(path='x')",
        )


def test_another_model_as_reference_changes_the_loss_and_not_the_start(least, finished, tmp_path):
    result = train(
        **least,
        output=tmp_path / "run",
        objective="dpo(beta=0.5)",
        reference=f"model(path={str(finished.output)!r})",
        epochs=0.34,
    )
    assert lines(result.output)[0]["loss"] > math.log(2)


def test_a_column_that_the_objective_needs_is_named_before_a_model_loads(least, tmp_path):
    with pytest.raises(NeedsError, match="score"):
        train(**{**least, "model": least["model"]}, output=tmp_path / "run", objective="odpo()")
    assert not (tmp_path / "run").exists()


def test_nan_stops_the_run_and_names_its_rows(least, tmp_path):
    broken = tmp_path / "broken"
    model = AutoModelForCausalLM.from_pretrained(str(least["model"]))
    with torch.no_grad():
        model.lm_head.weight[3] = torch.nan
    model.save_pretrained(broken)
    AutoTokenizer.from_pretrained(str(least["model"])).save_pretrained(broken)
    with pytest.raises(StoppedError, match=r"pairs\.jsonl row \d+.*row ids"):
        train(**{**least, "model": str(broken)}, output=tmp_path / "run", checks={"start": False})


def test_a_policy_that_is_not_its_reference_stops_at_step_0(least, tmp_path, monkeypatch):
    from truing.jobs import reference_pass

    def shifted(*args, **kwargs):
        filled = original(*args, **kwargs)
        filled.values = [values - 0.01 for values in filled.values]
        return filled

    original = reference_pass.stored_values
    monkeypatch.setattr(reference_pass, "stored_values", shifted)
    with pytest.raises(StoppedError, match="not its own reference at step 0"):
        train(**least, output=tmp_path / "run")
    result = train(**least, output=tmp_path / "off", checks={"start": False}, epochs=0.34)
    assert result.finished


def test_several_sources_are_mixed_by_weight(least, world_pairs, tmp_path):
    result = train(
        **{**least, "data": [str(world_pairs), {"path": str(world_pairs), "weight": 0.5}]},
        output=tmp_path / "run",
        epochs=0.2,
    )
    read = json.loads((result.output / "data.json").read_text())["train"]
    assert 24 < read["rows"] < 48
