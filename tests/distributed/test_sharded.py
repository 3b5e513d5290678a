"""Weights cut over the processes: the same training, and checkpoints that go on anywhere."""

import pytest
import torch
from safetensors.torch import load_file

from truing import train
from truing.errors import ConfigError

# Float64: what is left is the order of additions, which Adam makes a little larger.
TOLERANCE = 1e-7
KEPT = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 4}
CASES = {
    "dpo": {"objective": "dpo(beta=0.5)", "trainer": KEPT},
    "coupled": {
        "objective": "aot(beta=0.5)",
        "trainer": {"gradient_checkpointing": True},
    },
    "adapters": {"objective": "dpo(beta=0.5)", "lora": {"rank": 4}, "trainer": KEPT},
}
AGAIN = ("dpo", "adapters")


def settings_of(case, keys, output, *, is_sharded):
    more = dict(CASES[case])
    trainer = {**more["trainer"], **({"fsdp": True} if is_sharded else {})}
    return keys(output, **{**more, "trainer": trainer})


@pytest.fixture(scope="module", params=[2, 4])
def company(request, keys, in_company, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"by{request.param}")
    runs = [settings_of(case, keys, folder / case, is_sharded=True) for case in CASES]
    runs += [
        {"again": str(folder / case), "output": str(folder / f"{case} again")} for case in AGAIN
    ]
    in_company(request.param, runs)
    return folder


@pytest.fixture(scope="module")
def single(keys, alone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("by1")

    def run(case):
        output = folder / case
        if not output.exists():
            alone(settings_of(case, keys, output, is_sharded=False))
        return output

    return run


def assert_same(one, other):
    first, second = (load_file(*run.glob("*.safetensors")) for run in (one, other))
    assert first.keys() == second.keys()
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, atol=TOLERANCE, rtol=0)


def test_two_processes_give_the_weights_of_one_whole_model(keys, in_company, single, tmp_path):
    settings = settings_of("dpo", keys, tmp_path / "run", is_sharded=True)
    in_company(2, [settings])
    assert_same(single("dpo"), tmp_path / "run")


@pytest.mark.soak
@pytest.mark.parametrize("case", CASES)
def test_the_weights_are_those_of_one_whole_model(case, company, single):
    assert_same(single(case), company / case)


@pytest.mark.soak
@pytest.mark.parametrize("case", AGAIN)
def test_a_run_goes_on_from_the_parts_that_its_processes_wrote(case, company, single):
    assert_same(single(case), company / f"{case} again")


@pytest.mark.soak
def test_another_number_of_processes_goes_on_from_the_parts(company, single, in_company, tmp_path):
    in_company(3, [{"again": str(company / "dpo"), "output": str(tmp_path / "run")}])
    assert_same(single("dpo"), tmp_path / "run")


def test_sharding_in_one_process_is_an_error(keys, tmp_path):
    with pytest.raises(ConfigError, match=r"trainer\.fsdp has no effect in one process"):
        train(**keys(tmp_path / "run", trainer={"fsdp": True}))
