"""What comes from outside is numbers and text: nothing in it is run, nothing of it reaches out."""

import json
import pickle
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from truing import train
from truing.config import read_config
from truing.engine.adapters import load_merged
from truing.engine.models import load_config, load_model, load_tokenizer
from truing.errors import ConfigError, ModelError, ResumeError, StoppedError
from truing.jobs.train import resume
from truing.world import model_folder


class Bomb:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "gone off")


@pytest.fixture
def copied(tmp_path) -> Path:
    """The embedded model, to be spoilt."""
    return Path(shutil.copytree(model_folder(), tmp_path / "model"))


@pytest.fixture
def stopped(trained, tmp_path) -> Path:
    """A run that stopped with a checkpoint after step 2."""
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "finished.json").unlink()
    for step in (4, 6):
        shutil.rmtree(run / f"checkpoint-{step}")
    return run


def test_pickled_weights_are_not_loaded(copied, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(copied)
    for file in copied.glob("*.safetensors"):
        file.unlink()
    torch.save(model.state_dict(), copied / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        load_model(str(copied), torch.float32)


@pytest.mark.parametrize(
    "load", [load_config, load_tokenizer, lambda p: load_model(p, torch.float32)]
)
def test_code_beside_the_weights_is_not_run(load, copied, tmp_path):
    witness = tmp_path / "witness"
    (copied / "code.py").write_text(f"from pathlib import Path\nPath({str(witness)!r}).touch()\n")
    for name, key in (
        ("config.json", "AutoModelForCausalLM"),
        ("tokenizer_config.json", "AutoTokenizer"),
    ):
        path = copied / name
        values = json.loads(path.read_text())
        values["auto_map"] = {key: "code.Thing", "AutoConfig": "code.Config"}
        path.write_text(json.dumps({**values, "model_type": "unknown-kind"}))
    # A tokenizer is read all the same, by transformers' own code.
    with suppress(ModelError):
        load(str(copied))
    assert not witness.exists()


def test_a_checkpoint_that_holds_code_is_refused(stopped, tmp_path):
    witness = tmp_path / "witness"
    with (stopped / "checkpoint-2" / "optimizer.pt").open("wb") as file:
        pickle.dump(Bomb(witness), file, protocol=2)
    with pytest.raises(ResumeError, match=r"checkpoint-2: this checkpoint is damaged"):
        resume(stopped)
    assert not witness.exists()


def test_a_truncated_checkpoint_is_refused_and_the_way_on_is_said(stopped):
    weights = stopped / "checkpoint-2" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ResumeError, match="remove the folder"):
        resume(stopped)
    shutil.rmtree(stopped / "checkpoint-2")
    assert resume(stopped).finished


@pytest.mark.parametrize(
    ("file", "word"),
    [
        ("model.safetensors", "weights"),
        ("optimizer.pt", "the optimizer's state"),
        ("scheduler.pt", "the schedule"),
        ("trainer_state.json", "the trainer's state"),
        ("objective_state.json", "the objective's state"),
    ],
)
def test_what_is_left_of_a_checkpoint_is_not_gone_on_from(stopped, file, word):
    (stopped / "checkpoint-2" / file).unlink()
    with pytest.raises(ResumeError, match=f"damaged .without {word}"):
        resume(stopped)


def test_truncated_weights_of_a_model_are_refused(copied):
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelError):
        load_model(str(copied), torch.float32)


def test_a_model_of_which_weights_are_missing_is_refused(copied):
    file = copied / "model.safetensors"
    weights = load_file(file)
    del weights["model.layers.1.mlp.down_proj.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 of the model's weights are not in its files .*down"):
        load_model(str(copied), torch.float32)


@pytest.fixture(scope="module")
def adapters(least_in, tmp_path_factory) -> Path:
    """A finished run of adapters."""
    keys = least_in(tmp_path_factory.mktemp("adapters") / "run")
    return train(**{**keys, "lora": True, "trainer": {"save_strategy": "no"}}).output


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-500])


def pickled(file: Path) -> None:
    torch.save(load_file(file), file.with_name("adapter_model.bin"))
    file.unlink()


def incomplete(file: Path) -> None:
    weights = load_file(file)
    save_file(dict(list(weights.items())[1:]), file)


def of_another_shape(file: Path) -> None:
    weights = {n: v[:, :4].contiguous() for n, v in load_file(file).items()}
    save_file(weights, file)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (cut_short, "cannot be put on their base"),
        (pickled, r"holds no adapter_model\.safetensors"),
        (incomplete, r"cannot be put on their base .Found missing adapter keys"),
        (of_another_shape, "cannot be put on their base"),
    ],
)
def test_adapters_that_are_not_whole_are_refused(adapters, tmp_path, spoil, word):
    run = Path(shutil.copytree(adapters, tmp_path / "run"))
    load_merged(str(run), torch.float32)
    spoil(run / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=word):
        load_merged(str(run), torch.float32)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_stop_the_run(copied, least, value):
    model = AutoModelForCausalLM.from_pretrained(copied)
    with torch.no_grad():
        next(model.parameters())[7:400] = value
    model.save_pretrained(copied)
    with pytest.raises((StoppedError, ModelError)):
        train(**{**least, "model": str(copied)}, checks={"start": False})


def test_a_tokenizer_of_another_model_is_refused(least):
    foreign = str(model_folder("foreign"))
    with pytest.raises(ConfigError, match="it is another model's"):
        train(**{**least, "tokenizer": foreign})


def test_yaml_makes_no_objects(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text('model: !!python/object/apply:os.system ["true"]\n')
    with pytest.raises(ConfigError, match="is not valid YAML"):
        read_config(recipe)


def test_keys_of_the_environment_reach_no_file_of_a_run(least, monkeypatch):
    secret = "sk-this-is-nobodys-business"
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    run = train(**least).output
    found = [path for path in run.rglob("*") if path.is_file()]
    assert found
    assert not [path for path in found if secret.encode() in path.read_bytes()]
