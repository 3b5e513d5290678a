"""A wrong key or value is one sentence that names it, before anything heavy is imported."""

import subprocess
import sys

import pytest
import yaml

from truing.config import build_config, dump_config, read_config, with_overrides
from truing.errors import ConfigError

LEAST = {"model": "m", "data": "d.jsonl", "output": "run"}


def fault(**values):
    with pytest.raises(ConfigError) as caught:
        build_config({**LEAST, **values})
    return str(caught.value)


def test_an_unknown_key_names_the_nearest():
    assert "unknown key `learnig_rate`" in fault(learnig_rate=1e-5)
    assert "did you mean `learning_rate`?" in fault(learnig_rate=1e-5)
    assert "did you mean `rank`?" in fault(lora={"rnk": 8})


def test_all_faults_are_told_at_once():
    text = fault(epochs=-1, pairs_per_step=0)
    assert "`epochs`" in text
    assert "`pairs_per_step`" in text


def test_a_missing_key_is_named():
    with pytest.raises(ConfigError, match="`model` is missing"):
        build_config({"data": "d", "output": "o"})


def test_a_number_out_of_range_is_told_the_least_one():
    assert "fix: set `tokens_per_device` to 16 or more" in fault(tokens_per_device=10)
    assert "fix: set `learning_rate` to more than 0" in fault(learning_rate=-1.0)
    assert "fix: set `engine` to a value of that kind" in fault(engine="fast")


@pytest.mark.parametrize(
    ("key", "own"),
    [
        ("learning_rate", "learning_rate"),
        ("num_train_epochs", "epochs"),
        ("bf16", "dtype"),
        ("hub_token", "the environment variable HF_TOKEN"),
    ],
)
def test_a_trainer_field_that_another_key_governs_names_that_key(key, own):
    assert f"trainer.{key} is governed by {own}" in fault(trainer={key: 1})


def test_evaluation_settings_without_data_would_have_no_effect():
    assert "need evaluation.data" in fault(evaluation={"every": 5})


def test_overrides_reach_into_blocks_and_win():
    values = with_overrides(
        {**LEAST, "lora": True}, ["epochs=3", "lora.rank=4", "learning_rate=5e-4"]
    )
    config = build_config(values)
    assert (config.epochs, config.lora.rank, config.learning_rate) == (3, 4, 5e-4)


@pytest.mark.parametrize("override", ["epochs", "=3", "epochs.more=1=", "objective.x=[1"])
def test_an_override_that_is_none_is_an_error(override):
    with pytest.raises(ConfigError):
        build_config(with_overrides(LEAST, [override]))


def test_an_expression_is_text_whatever_yaml_makes_of_it():
    values = with_overrides(LEAST, ["objective=dpo(beta=0.1) + 0.2*sft()"])
    assert build_config(values).objective == "dpo(beta=0.1) + 0.2*sft()"


def test_the_resolved_configuration_is_accepted_again(tmp_path):
    config = build_config({**LEAST, "lora": {"rank": 8}, "epochs": 2})
    path = tmp_path / "run.yaml"
    path.write_text(dump_config(config, {"versions": {"truing": "0"}}))
    assert build_config(read_config(path)) == config
    assert yaml.safe_load(path.read_text())["made_with"] == {"versions": {"truing": "0"}}


def test_a_file_that_is_no_yaml_names_its_line(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("model: m\ndata: [unclosed\n")
    with pytest.raises(ConfigError, match=r"recipe.yaml line \d+: is not valid YAML"):
        read_config(path)


def test_configuration_and_help_come_without_torch():
    code = (
        "import sys; import truing.config, truing.cli.app, truing.cli.console; "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
