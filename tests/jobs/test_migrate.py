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
    assert "method" not in words(found, "default"), "DPO alone has the loss bco_pair"


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


def test_columns_of_dataset_info_are_mapped_and_what_else_it_says_is_named(tmp_path):
    info = {
        "mine": {
            "file_name": "mine.json",
            "ranking": True,
            "columns": {"prompt": "question", "chosen": "good", "rejected": "rejected"},
        },
        "talk": {
            "file_name": "talk.json",
            "formatting": "sharegpt",
            "ranking": True,
            "num_samples": 9,
            "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
            "tags": {"role_tag": "who", "user_tag": "asker"},
        },
        "script": {"script_url": "load.py"},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    file = tmp_path / "run.yaml"
    head = f"stage: dpo\nmodel_name_or_path: m\ndataset_dir: {tmp_path}\n"
    file.write_text(f"{head}dataset: mine\n")
    # A prompt of LLaMA-Factory's own layout is a user's turn, which Truing calls an instruction.
    assert migrate(file).keys["columns"] == {"instruction": "question", "chosen": "good"}
    file.write_text(f"{head}dataset: talk\n")
    found = migrate(file)
    assert found.keys["columns"] == {"role": "who"}
    assert "talk.num_samples=9" in words(found)
    assert "talk.tags.user_tag=asker" in words(found)
    file.write_text(f"{head}dataset: mine, talk, script\n")
    found = migrate(file)
    assert "columns" not in found.keys
    for name in ("columns of", "mine.json", "talk.json", "script.script_url=load.py"):
        assert name in words(found)


def test_columns_that_are_read_by_themselves_are_not_mapped(shared, tmp_path):
    folder = shared / "data/preferences/llamafactory-demos"
    file = tmp_path / "run.yaml"
    file.write_text(
        f"stage: dpo\nmodel_name_or_path: m\ndataset_dir: {folder}\ndataset: dpo_en_demo\n"
    )
    found = migrate(file)
    assert found.keys["data"] == str(folder / "dpo_en_demo.json")
    assert "columns" not in found.keys
    assert "dpo_en_demo" not in words(found)


@pytest.mark.parametrize(
    ("given", "dtype"),
    [({"stage": "dpo"}, "float32"), ({"stage": "dpo", "bf16": True}, "bfloat16"), ({}, None)],
    ids=str,
)
def test_numbers_are_as_wide_as_they_were_where_nothing_was_said(given, dtype, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump({"model_name_or_path": "m", **given}))
    found = migrate(file)
    assert found.keys.get("dtype") == dtype
    assert ("bf16=False" in words(found, "default")) is (dtype == "float32")


@pytest.mark.parametrize(("method", "length"), [("dpo", None), ("orpo", 512), ("cpo", 512)])
def test_a_length_that_is_null_is_what_it_means_there(method, length, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("model_name_or_path: m\nmax_length: null\n")
    assert migrate(file, method=method).keys.get("max_length") == length


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


def test_the_number_of_processes_is_read_from_accelerates_file_or_asked_for(tmp_path):
    (tmp_path / "zero3.yaml").write_text("distributed_type: DEEPSPEED\nnum_processes: 8\n")
    rest = "trl/scripts/dpo.py --model_name_or_path m --per_device_train_batch_size 2"
    found = migrate(command=f"accelerate launch --config_file {tmp_path}/zero3.yaml {rest}")
    assert found.keys["pairs_per_step"] == 16
    found = migrate(command=f"accelerate launch --config_file nowhere.yaml {rest}")
    assert found.keys["pairs_per_step"] == 2
    assert "--devices N" in words(found)
    command = "trl dpo --accelerate_config zero2 --per_device_train_batch_size 2"
    assert migrate(command=command, devices=4).keys["pairs_per_step"] == 8


def test_a_module_is_a_program_as_a_script_is():
    found = migrate(command="torchrun --nproc_per_node=2 -m trl.scripts.kto --beta 0.2")
    assert found.origin == "TRL's KTOTrainer"
    assert found.keys["pairs_per_step"] == 16


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
        ({"truncation_mode": "keep"}, "no such mode"),
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


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"f_alpha_divergence_coef": 0.3}, "f_alpha_divergence_coef"),
        ({"ref_model_mixup_alpha": 0.3}, "ref_model_mixup_alpha=0.3"),
        ({"eval_steps": 10}, "eval_steps=10"),
        ({"do_eval": True}, "do_eval=True"),
        ({"cpo_alpha": 0.5, "simpo_gamma": 1.0}, "simpo_gamma"),
        ({"loss_type": "alphapo", "cpo_alpha": 0.5}, "cpo_alpha"),
        ({"loss_type": "kto", "truncation_mode": "keep_end"}, "truncation_mode=keep_end"),
        ({"datasets": [{"path": "a"}], "dataset_name": "b"}, "dataset_name=b"),
        ({"stage": "dpo", "finetuning_type": "full", "lora_rank": 4}, "lora_rank=4"),
        ({"stage": "dpo", "finetuning_type": "freeze"}, "the run file trains all"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_had_no_effect_there_is_named(given, named, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump({"model_name_or_path": "m", **given}))
    assert named in words(migrate(file))


@pytest.mark.parametrize(
    ("loss", "origin"),
    [
        ("simpo", "TRL's CPOTrainer"),
        (["alphapo"], None),
        ("apo_zero_unpaired", "TRL's KTOTrainer"),
        (["ipo", "bco_pair"], "TRL's DPOTrainer"),
    ],
)
def test_a_loss_that_one_trainer_alone_has_tells_the_method(loss, origin, tmp_path):
    file = tmp_path / "trl.yaml"
    file.write_text(yaml.safe_dump({"model_name_or_path": "m", "loss_type": loss}))
    if origin is None:
        with pytest.raises(ConfigError, match="CPOTrainer has no loss"):
            migrate(file)
        return
    found = migrate(file)
    assert found.origin == origin
    assert "method" not in words(found, "default")


@pytest.mark.parametrize(
    "given",
    [
        {"beta": "strong"},
        {"loss_type": ["sigmoid", "sft"], "loss_weights": ["a", 1.0]},
        {"cpo_alpha": "x"},
        {"ld_alpha": [0.5]},
        {"max_length": "long"},
        {"seed": 1.5},
        {"num_processes": "x"},
        {"stage": "dpo", "pref_beta": "x"},
        {"stage": "dpo", "cutoff_len": "x"},
        {"stage": "dpo", "lora_rank": 1.5},
    ],
    ids=str,
)
def test_a_value_that_is_no_number_is_an_error_that_names_its_argument(given, tmp_path):
    file = tmp_path / "trl.yaml"
    file.write_text(yaml.safe_dump({"model_name_or_path": "m", **given}))
    with pytest.raises(ConfigError, match=rf"`{list(given)[-1]}` is no (whole )?number"):
        migrate(file)


def test_one_weight_is_a_list_of_one(tmp_path):
    found = migrate(command="trl dpo --model_name_or_path m --loss_type ipo --loss_weights 0.5")
    assert objective(found) == 0.5 * r.ipo(beta=0.1)


def test_files_of_a_mixture_are_named_and_not_the_program_that_reads_them(tmp_path):
    file = tmp_path / "trl.yaml"
    mixture = [{"path": "json", "data_files": ["a.jsonl", "b.jsonl"]}, {"path": "org/set"}]
    file.write_text(yaml.safe_dump({"model_name_or_path": "m", "datasets": mixture}))
    assert migrate(file).keys["data"] == ["a.jsonl", "b.jsonl", "org/set"]


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
    with pytest.raises(ConfigError, match="given twice"):
        migrate("a.yaml", command="trl dpo --beta 0.1")
    with pytest.raises(ConfigError, match="there is no argument"):
        migrate(command="trl dpo")
    with pytest.raises(ConfigError, match="quotation has no end"):
        migrate(command="trl dpo --beta '0.1")
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
