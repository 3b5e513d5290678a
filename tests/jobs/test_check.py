"""Before a run: everything that is wrong at once, and what it will cost, with no weight loaded."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from truing.engine import LOGPS_ONLY
from truing.engine.forecast import Pass, Shape, Work, memory, operations, size_of
from truing.engine.forward import use_own_attention
from truing.engine.padded import PaddedEngine
from truing.engine.shared import PackedEngine, SharedEngine
from truing.jobs.check import check


@dataclass(frozen=True)
class TokenRow:
    prompt: np.ndarray
    responses: tuple[np.ndarray, ...]


@pytest.fixture
def rows_of_ids():
    draw = np.random.default_rng(0)

    def ids(count):
        return draw.integers(0, 512, count, dtype=np.int32)

    return [TokenRow(ids(40), (ids(40), ids(60))) for _ in range(4)]


def words(report):
    return [str(fault) for fault in report.faults]


def test_every_fault_is_told_at_once(tmp_path):
    report = check(
        {
            "modle": "x",
            "objective": "dop()",
            "epochs": -1,
            "model": str(tmp_path / "none"),
            "data": str(tmp_path / "none.jsonl"),
            "evaluation": {"every": 3},
            "lora": {"rank": 0},
            "trainer": {"seed": 1},
        }
    )
    said = "\n".join(words(report))
    for sentence in (
        "unknown key `modle`",
        "did you mean dpop or dpo",
        "`epochs`: input should be greater than 0",
        "there is no such folder or file",
        "there is no such file",
        "need evaluation.data",
        "`lora.rank`",
        "trainer.seed is governed by seed",
        "`output` is missing",
    ):
        assert sentence in said
    assert report.exit_code == 1


def test_a_good_run_is_told_by_its_rows_needs_and_cost(least, world_pairs, tmp_path):
    keys = {**least, "output": str(tmp_path / "run"), "epochs": 2}
    report = check({**keys, "objective": "dpo()", "evaluation": {"data": str(world_pairs)}})
    assert not report.faults
    assert report.needs[0] == "log-probs of the reference, summed over each response"
    assert report.cost is not None
    assert report.cost.steps == 12
    assert report.cost.trained == report.cost.weights > 10_000
    assert report.cost.fits == "yes"
    assert report.facts["held-out rows"] == "24"
    assert not (tmp_path / "run").exists()
    assert json.loads(json.dumps(report.to_json()))["good"] is True


def test_pickled_weights_are_none(least, tmp_path):
    model = Path(shutil.copytree(least["model"], tmp_path / "model"))
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    report = check({**least, "model": str(model), "output": str(tmp_path / "run")})
    assert [fault.what for fault in report.faults] == ["holds a configuration and no weights"]


def test_adapters_are_counted_as_what_is_trained(least, tmp_path):
    keys = {**least, "output": str(tmp_path / "run")}
    whole, small = check(keys).cost, check({**keys, "lora": {"rank": 2}}).cost
    assert whole is not None
    assert small is not None
    assert small.trained < 0.1 * whole.trained
    assert small.memory["optimizer"] == 8 * small.trained


def test_a_column_that_the_objective_needs_is_named(least, tmp_path):
    report = check({**least, "output": str(tmp_path / "run"), "objective": "odpo()"})
    assert "no column `score_chosen` and `score_rejected`" in "\n".join(words(report))


def test_a_finished_folder_is_not_written_into(least, tmp_path):
    (tmp_path / "file").write_text("x")
    report = check({**least, "output": str(tmp_path)})
    assert "something in the output folder" in "\n".join(words(report))


@pytest.mark.parametrize("layers", [2, 5])
def test_the_forecast_of_activations_is_what_the_engine_keeps(rows_of_ids, layers):
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=layers,
        vocab_size=512,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).eval()
    use_own_attention(model)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = SharedEngine(10_000).logps(model, rows_of_ids, LOGPS_ONLY)
    assert torch.isfinite(out.logps).all()
    found = sum(size for place, size in kept.items() if place not in weights)
    told = memory(Shape.of(model, config), Pass(*size_of(SharedEngine(10_000), rows_of_ids)))
    assert told["activations"] + told["log-probs"] == pytest.approx(found, rel=0.25)


def test_the_size_of_a_pass_is_that_of_its_engine(rows_of_ids):
    # Four prompts of 40 tokens, with responses of 40 and 60 each.
    assert size_of(SharedEngine(10_000), rows_of_ids) == (4 * (40 + 100), 400)
    assert size_of(PackedEngine(10_000), rows_of_ids) == (4 * (80 + 100), 400)
    assert size_of(PaddedEngine(10_000), rows_of_ids) == (8 * 100, 8 * 100)


def test_a_step_of_several_passes_keeps_gradients_while_it_has_activations():
    shape = Shape(weights=1000, trained=1000, hidden=10, gated=20, keys=5, layers=2, vocabulary=10)
    alone, one_of_many = (
        memory(shape, Pass(100, 50, is_one_of_many=many)) for many in (False, True)
    )
    assert one_of_many["gradients"] == 4000 > alone["gradients"]
    assert alone["activations"] == one_of_many["activations"] > 0


def test_work_is_six_operations_a_weight_and_token_and_fewer_under_adapters():
    shape = Shape(1000, 1000, 10, 20, 5, 2, 10)
    assert operations(shape, Work(7, 7)) == 6 * 1000 * 7
    frozen = Shape(1000, 0, 10, 20, 5, 2, 10)
    assert operations(frozen, Work(7, 7)) == 4 * 1000 * 7


def test_rounds_that_make_their_pairs_need_no_data_and_are_read(tmp_path):
    rounds = {"count": 1, "pairs": "resampled", "prompts": "world(rows=2)", "scorer": "world()"}
    values = {"model": "world()", "objective": "dpo()", "output": str(tmp_path / "run")}
    assert check({**values, "rounds": rounds}).faults == ()
    wrong = check({**values, "rounds": {**rounds, "select": "nonsense()"}}).faults
    assert ["nonsense" in str(fault) for fault in wrong] == [True]
