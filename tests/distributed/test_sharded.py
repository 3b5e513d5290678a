"""Weights cut over the processes: the same training, and checkpoints that go on anywhere."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from truing import train
from truing.errors import ConfigError, ResumeError
from truing.jobs.train import resume
from truing.training import folder

from .worker import put_back

# Float64: what is left is the order of additions, which Adam makes a little larger.
TOLERANCE = 1e-7
# Rows that meet other rows in a pass are rounded otherwise; the losses are of the order of 1.
HALF_LOSS = 0.02
KEPT = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 4}
RECOMPUTED = {**KEPT, "gradient_checkpointing": True}
QUICK = {
    "dpo": {"objective": "dpo(beta=0.5)", "trainer": KEPT},
    "coupled": {"objective": "beta_dpo(beta=0.5)", "trainer": RECOMPUTED},
    "adapters": {"objective": "dpo(beta=0.5)", "lora": {"rank": 4}, "trainer": RECOMPUTED},
}
LONG = {
    "aot": {"objective": "aot(beta=0.5)", "trainer": RECOMPUTED},
    "kto": {"objective": "kto(beta=0.5)", "trainer": KEPT},
    "sampo with sft": {"objective": "sampo(beta=0.5) + 0.2*sft()", "trainer": KEPT},
    "coupled adapters": {"objective": "aot(beta=0.5)", "lora": {"rank": 4}, "trainer": KEPT},
}
HALF = {"objective": "dpo(beta=0.5)", "dtype": "bfloat16", "trainer": {}}
CASES = {**QUICK, **LONG}


def settings_of(case, keys, output, *, is_sharded):
    trainer = {**case["trainer"], **({"fsdp": True} if is_sharded else {})}
    return keys(output, **{**case, "trainer": trainer})


@pytest.fixture(scope="module")
def single(keys, alone, tmp_path_factory):
    """The run of one process by the name of the case."""
    runs = tmp_path_factory.mktemp("by1")

    def run(name):
        output = runs / name
        if not output.exists():
            alone(settings_of(CASES[name], keys, output, is_sharded=False))
        return output

    return run


def company_of(cases, again, processes, keys, in_company, runs):
    """Every case, and some of them again from the checkpoint after the second step."""
    asked = [settings_of(case, keys, runs / name, is_sharded=True) for name, case in cases.items()]
    asked += [{"again": str(runs / name), "output": str(runs / f"{name} again")} for name in again]
    in_company(processes, asked)
    return runs


@pytest.fixture(scope="module")
def two(keys, in_company, tmp_path_factory):
    return company_of(QUICK, ["coupled"], 2, keys, in_company, tmp_path_factory.mktemp("by2"))


@pytest.fixture(scope="module")
def four(keys, in_company, tmp_path_factory):
    return company_of(CASES, CASES, 4, keys, in_company, tmp_path_factory.mktemp("by4"))


def assert_same(one, other):
    first, second = (load_file(*run.glob("*.safetensors")) for run in (one, other))
    assert first.keys() == second.keys()
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", QUICK)
def test_two_processes_give_the_weights_of_one_whole_model(name, two, single):
    assert_same(single(name), two / name)


def test_a_run_goes_on_from_the_parts_that_its_processes_wrote(two, single):
    assert_same(single("coupled"), two / "coupled again")


@pytest.mark.parametrize("name", QUICK)
def test_one_process_goes_on_from_the_parts_of_two(name, two, single, tmp_path):
    assert resume(put_back(two / name, tmp_path / "run")).finished
    assert_same(single(name), tmp_path / "run")


@pytest.mark.parametrize("spoil", ["lost", "cut", "strange"])
def test_parts_that_do_not_make_a_whole_are_refused(two, tmp_path, spoil):
    run = put_back(two / "dpo", tmp_path / "run")
    parts = sorted((run / "checkpoint-2" / "optimizer").glob("*.safetensors"))
    assert len(parts) == 2
    deeds = {
        "lost": parts[0].unlink,
        "cut": lambda: parts[1].write_bytes(parts[1].read_bytes()[:-8]),
        "strange": lambda: shutil.copy2(parts[1], parts[1].with_stem("another")),
    }
    deeds[spoil]()
    with pytest.raises(ResumeError, match="parts of the optimizer's state are missing or cut"):
        resume(run)
    shutil.rmtree(run / "checkpoint-2")
    assert [folder.step_of(path) for path in folder.checkpoints(run)] == [1]
    assert resume(run).finished


def test_nothing_in_a_checkpoint_of_parts_is_a_pickle_of_more_than_numbers(two):
    """Torch's own format keeps its table of contents as one."""
    checkpoint = two / "dpo" / "checkpoint-2"
    read = [torch.load(path, weights_only=True) for path in checkpoint.rglob("*.pt")]
    assert len(read) == 2
    suffixes = {path.suffix for path in checkpoint.rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".pt", ".pth", ".json", ".jinja", ".md"}


def test_sharding_in_one_process_is_an_error(keys, tmp_path):
    with pytest.raises(ConfigError, match=r"trainer\.fsdp has no effect in one process"):
        train(**keys(tmp_path / "run", trainer={"fsdp": True}))


@pytest.mark.soak
@pytest.mark.parametrize("name", CASES)
def test_four_processes_give_the_weights_of_one_whole_model(name, four, single):
    assert_same(single(name), four / name)


@pytest.mark.soak
@pytest.mark.parametrize("name", CASES)
def test_four_go_on_from_the_parts_that_they_wrote(name, four, single):
    assert_same(single(name), four / f"{name} again")


@pytest.mark.soak
def test_three_processes_go_on_from_the_parts_of_four(four, single, in_company, tmp_path):
    again = [{"again": str(four / name), "output": str(tmp_path / name)} for name in CASES]
    in_company(3, again)
    for name in CASES:
        assert_same(single(name), tmp_path / name)


@pytest.mark.soak
def test_products_in_half_precision_give_nearly_the_losses_of_one(
    keys, alone, in_company, tmp_path
):
    alone(settings_of(HALF, keys, tmp_path / "one", is_sharded=False))
    in_company(2, [settings_of(HALF, keys, tmp_path / "two", is_sharded=True)])
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert len(one) == len(two)
    for ours, theirs in zip(one, two, strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], abs=HALF_LOSS)
    weights = load_file(tmp_path / "two" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


@pytest.mark.soak
def test_the_best_step_is_kept_with_sharded_weights_too(keys, files, alone, in_company, tmp_path):
    evaluation = {"data": files["pairs"], "every": 1, "rows": 9, "samples": 2, "best": "margin"}
    case = {"objective": "dpo(beta=0.5)", "evaluation": evaluation}
    runs = [keys(tmp_path / name, **case) for name in ("one", "two")]
    for run in runs:
        run["trainer"] = {}
    alone(runs[0])
    in_company(2, [{**runs[1], "trainer": {"fsdp": True}}])
    kept = [json.loads((tmp_path / name / "finished.json").read_text()) for name in ("one", "two")]
    assert kept[0]["kept_step"] == kept[1]["kept_step"]
    assert_same(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "one/samples.jsonl").read_text() == (
        tmp_path / "two/samples.jsonl"
    ).read_text()
