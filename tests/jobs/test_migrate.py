"""A run of TRL or LLaMA-Factory as a run file: every argument is a key, a field, or a note."""

import json

import pytest
import yaml

from truing import recipes as r
from truing import train
from truing.config import build_config
from truing.errors import ConfigError
from truing.jobs.migrate import migrate
from truing.world import model_folder


def words(migration, kind="no equal"):
    return " | ".join(f"{n.argument}: {n.what} {n.fix}" for n in migration.notes if n.kind == kind)


def objective(migration):
    return r.parse(migration.keys["objective"])


def test_the_example_of_trl_becomes_a_run_file_with_nothing_lost(repository, tmp_path):
    found = migrate(repository / "examples/trl_dpo.yaml", output=tmp_path / "run.yaml")
    assert yaml.safe_load((tmp_path / "run.yaml").read_text()) == dict(found.keys)
    expected = "0.8*dpo(beta=0.1) + 0.2*bco(beta=0.1, shift='none') + sft()"
    assert found.keys["objective"] == expected
    assert found.keys["pairs_per_step"] == 16
    assert found.keys["data"] == "trl-lib/ultrafeedback_binarized"
    assert found.keys["evaluation"] == {
        "data": "trl-lib/ultrafeedback_binarized:test",
        "every": 100,
    }
    assert found.keys["lora"]["targets"] == "all-linear"
    assert found.keys["trainer"] == {
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
        "gradient_checkpointing": True,
        "logging_steps": 10,
        "save_steps": 500,
    }
    assert (found.keys["seed"], found.keys["truncation"]) == (42, "cut")
    told = words(found)
    for name in ("precompute_ref_log_probs", "dataset_num_proc", "lora_dropout"):
        assert name in told


def test_every_argument_of_the_examples_is_a_key_or_has_a_word(repository):
    for name in ("trl_dpo.yaml", "llamafactory_dpo.yaml"):
        path = repository / "examples" / name
        found = migrate(path)
        said = json.dumps(found.to_json()["keys"]) + " ".join(n.argument for n in found.notes)
        read = {
            *("model_name_or_path", "dataset_name", "dataset_train_split", "dataset_test_split"),
            *("loss_type", "loss_weights", "beta", "use_peft", "lora_r", "lora_alpha", "bf16"),
            *("lora_target_modules", "num_train_epochs", "eval_strategy", "eval_steps", "stage"),
            *("finetuning_type", "lora_rank", "lora_target", "pref_loss", "pref_beta", "pref_ftx"),
            *("dataset_dir", "output_dir"),
        }
        for argument in yaml.safe_load(path.read_text()):
            assert argument in said or argument in read, argument


def test_the_example_of_llama_factory_keeps_its_own_loss(repository):
    found = migrate(repository / "examples/llamafactory_dpo.yaml")
    assert found.origin == "LLaMA-Factory"
    assert objective(found) == r.dpo(beta=0.1) + 0.1 * r.sft(reduction="sequence_mean")
    assert found.keys["lora"] == {
        "rank": 8,
        "alpha": 16.0,
        "dropout": 0.0,
        "targets": "all-linear",
    }
    assert found.keys["pairs_per_step"] == 8
    assert "template=llama3" in words(found)
    assert "dataset=dpo_en_demo" in words(found), "there is no dataset_info.json to look it up in"


def test_a_name_in_dataset_info_becomes_its_file(tmp_path):
    (tmp_path / "dataset_info.json").write_text('{"mine": {"file_name": "mine.json"}}')
    file = tmp_path / "run.yaml"
    file.write_text(f"stage: dpo\ndataset: mine\ndataset_dir: {tmp_path}\npref_loss: simpo\n")
    found = migrate(file)
    assert found.keys["data"] == str(tmp_path / "mine.json")
    assert objective(found) == r.simpo(beta=0.1, gamma=0.5)


def test_a_command_line_is_read_with_its_launcher():
    found = migrate(
        command="accelerate launch --num_processes 4 trl/scripts/kto.py --dataset_name mine.jsonl "
        "--model_name_or_path m --per_device_train_batch_size 2 --desirable_weight 1.5 "
        "--learning_rate 5e-7 --no_remove_unused_columns --max_steps=20"
    )
    assert found.origin == "TRL's KTOTrainer"
    assert objective(found) == r.kto(beta=0.1, desirable_weight=1.5)
    assert found.keys["pairs_per_step"] == 8
    assert found.keys["learning_rate"] == 5e-7
    assert found.keys["trainer"] == {"max_steps": 20}
    assert "remove_unused_columns=False" in words(found)


def test_a_command_line_takes_its_config_file_and_goes_over_it(tmp_path):
    file = tmp_path / "trl.json"
    file.write_text('{"beta": 0.5, "loss_type": "hinge", "model_name_or_path": "m"}')
    found = migrate(command=f"trl dpo --config {file} --beta 0.2 --dataset_name d.jsonl")
    assert objective(found) == r.hinge(beta=0.2)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"loss_type": "simpo", "cpo_alpha": 0.0, "simpo_gamma": 1.0},
            "simpo(beta=0.1, gamma=1.0)",
        ),
        ({"loss_type": "ipo", "ld_alpha": 0.5}, None),
        ({"f_divergence_type": "js_divergence"}, "f_dpo(beta=0.1, divergence='js')"),
        ({"use_weighting": True}, "wpo(beta=0.1, capped=False)"),
        ({"loss_type": "sppo_hard", "beta": 0.001}, "sppo(beta=0.001, hard=True, halved=False)"),
    ],
    ids=["simpo", "ld-ipo", "js", "wpo", "sppo"],
)
def test_a_loss_is_said_in_the_mode_that_equals_trl(given, expected, tmp_path):
    file = tmp_path / "trl.yaml"
    file.write_text(yaml.safe_dump({"model_name_or_path": "m", **given}))
    found = migrate(file)
    assert r.parse(str(objective(found))) == objective(found)
    if expected is not None:
        assert found.keys["objective"] == expected


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"loss_type": "ipo", "f_divergence_type": "forward_kl"}, "no equal"),
        ({"loss_type": "aot", "ld_alpha": 0.5}, "no equal"),
        ({"loss_type": "sigmiod"}, "TRL 1.16 has no loss 'sigmiod'"),
        ({"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0]}, "1 weights for 2 losses"),
        ({"loss_type": "exo_pair"}, "needs label_smoothing"),
        ({"loss_type": "robust", "label_smoothing": 0.7}, "no equal"),
        ({"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 2.0}, "outside of"),
        ({"learning_rate": "fast"}, "is no number"),
        ({"beta": -1}, "must be greater than 0"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_no_objective_equals_is_an_error_that_names_it(given, sentence, tmp_path):
    file = tmp_path / "trl.yaml"
    file.write_text(yaml.safe_dump({"model_name_or_path": "m", **given}))
    with pytest.raises(ConfigError, match=sentence):
        migrate(file)


def test_arguments_without_effect_and_unknown_ones_are_named(tmp_path):
    file = tmp_path / "trl.yaml"
    file.write_text(
        "model_name_or_path: m\nlabel_smoothing: 0.1\nlora_r: 4\npad_token: x\n"
        "padding_free: true\nfancy_new_thing: 3\nload_in_4bit: true\ndata_seed: 7\n"
    )
    told = words(migrate(file))
    for name in ("label_smoothing", "lora_r=4", "pad_token=x", "padding_free", "data_seed=7"):
        assert name in told
    assert "fancy_new_thing=3" in told
    assert "cdpo(beta=0.1, epsilon=0.1)" in told


def test_a_reference_that_follows_the_policy_is_taken_over(tmp_path):
    file = tmp_path / "trl.yaml"
    file.write_text("model_name_or_path: m\nsync_ref_model: true\nref_model_sync_steps: 4\n")
    found = migrate(file)
    assert found.keys["reference"] == "tr_dpo_soft(alpha=0.6, every=4)"
    assert "sync_ref_model" in words(found, "changed")
    file.write_text("model_name_or_path: m\nsync_ref_model: true\nref_model_mixup_alpha: 1.0\n")
    assert migrate(file).keys["reference"] == "sync(every=512)"


def test_what_to_read_is_asked_for(tmp_path):
    with pytest.raises(ConfigError, match="missing"):
        migrate()
    with pytest.raises(ConfigError, match="there is no argument"):
        migrate(command="trl dpo")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="holds no arguments"):
        migrate(tmp_path / "list.yaml")
    (tmp_path / "sft.yaml").write_text("stage: sft\n")
    with pytest.raises(ConfigError, match="not preference training"):
        migrate(tmp_path / "sft.yaml")


def test_a_run_file_that_is_there_is_not_written_over(repository, tmp_path):
    (tmp_path / "run.yaml").write_text("model: m\n")
    with pytest.raises(ConfigError, match="there already"):
        migrate(repository / "examples/trl_dpo.yaml", output=tmp_path / "run.yaml")


@pytest.mark.parametrize("example", ["trl_dpo.yaml", "llamafactory_dpo.yaml"])
def test_the_migrated_file_trains(example, repository, world_pairs, tmp_path):
    migrate(
        repository / "examples" / example,
        keys={"model": str(model_folder()), "data": str(world_pairs)},
        output=tmp_path / "run.yaml",
    )
    result = train(
        tmp_path / "run.yaml",
        output=tmp_path / "run",
        evaluation={},
        dtype="float32",
        max_length=512,
        trainer={"save_strategy": "no", "max_steps": 2},
    )
    assert result.finished
    assert result.steps == 2


def test_notes_stand_in_the_file_and_leave_it_valid(repository, tmp_path):
    found = migrate(repository / "examples/trl_dpo.yaml", output=tmp_path / "run.yaml")
    text = (tmp_path / "run.yaml").read_text()
    assert text == found.text
    assert "#   precompute_ref_log_probs=True" in text
    assert build_config(yaml.safe_load(text)).rate == 5e-6
