"""Extrapolation of saved weights, one file at a time."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from truing.errors import ModelError
from truing.training.weights import extrapolate


def folder(path, tensors, shards=1):
    """A model's folder of so many files."""
    path.mkdir()
    (path / "config.json").write_text("{}")
    names = sorted(tensors)
    if shards == 1:
        save_file(tensors, str(path / "model.safetensors"), metadata={"format": "pt"})
        return path
    places = {}
    for number in range(shards):
        part = {name: tensors[name] for name in names[number::shards]}
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        save_file(part, str(path / file), metadata={"format": "pt"})
        places.update(dict.fromkeys(part, file))
    index = {"metadata": {}, "weight_map": places}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return path


def everything(path):
    found = {}
    for file in path.glob("*.safetensors"):
        found |= load_file(str(file))
    return found


def tensors(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (3, 4), "b": (5,), "c": (2, 2, 2)}
    return {n: torch.randn(s, generator=generator).to(dtype) for n, s in shapes.items()}


@pytest.mark.parametrize("shards", [(1, 1), (2, 1), (1, 3), (3, 2)])
def test_weights_move_on_by_alpha_times_the_difference(tmp_path, shards):
    new, old = tensors(1), tensors(2)
    one = folder(tmp_path / "new", new, shards[0])
    other = folder(tmp_path / "old", old, shards[1])
    found = everything(extrapolate(one, other, 0.3, tmp_path / "out"))
    for name in new:
        for x, y, z in zip(
            new[name].flatten().tolist(),
            old[name].flatten().tolist(),
            found[name].flatten().tolist(),
            strict=True,
        ):
            assert z == pytest.approx(x + 0.3 * (x - y), abs=1e-6)


def test_alpha_zero_is_the_trained_model_itself(tmp_path):
    one, other = folder(tmp_path / "n", tensors(1)), folder(tmp_path / "o", tensors(2))
    found = everything(extrapolate(one, other, 0.0, tmp_path / "out"))
    assert all(torch.equal(found[name], value) for name, value in tensors(1).items())


def test_half_precision_is_widened_before_the_difference(tmp_path):
    new = {"a": torch.tensor([1.0078125], dtype=torch.bfloat16)}
    old = {"a": torch.tensor([1.0], dtype=torch.bfloat16)}
    one, other = folder(tmp_path / "n", new), folder(tmp_path / "o", old)
    found = everything(extrapolate(one, other, 3.0, tmp_path / "out"))["a"]
    assert found.dtype == torch.bfloat16
    assert found.item() == torch.tensor(1.0078125 + 3 * 0.0078125).bfloat16().item()


def test_whole_numbers_are_those_of_the_trained_model(tmp_path):
    new, old = {"a": torch.tensor([7])}, {"a": torch.tensor([3])}
    one, other = folder(tmp_path / "n", new), folder(tmp_path / "o", old)
    assert everything(extrapolate(one, other, 2.0, tmp_path / "out"))["a"].item() == 7


def test_another_shape_is_refused(tmp_path):
    one = folder(tmp_path / "n", {"a": torch.zeros(3)})
    other = folder(tmp_path / "o", {"a": torch.zeros(4)})
    with pytest.raises(ModelError, match="shape"):
        extrapolate(one, other, 0.3, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_adapters_is_refused(tmp_path):
    one = folder(tmp_path / "n", {"a": torch.zeros(3)})
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="no plain weights"):
        extrapolate(one, tmp_path / "o", 0.3, tmp_path / "out")


def test_what_makes_a_folder_loadable_comes_along(tmp_path, start):
    from pathlib import Path

    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = extrapolate(Path(start), Path(start), 0.5, tmp_path / "out")
    before = AutoModelForCausalLM.from_pretrained(start).state_dict()
    after = AutoModelForCausalLM.from_pretrained(out).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert AutoTokenizer.from_pretrained(out)("Hello")["input_ids"]
