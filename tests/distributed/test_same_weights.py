"""However many processes share the steps, the trained weights are those of one."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

# Float64: what is left is the order of additions, which Adam makes a little larger.
TOLERANCE = 1e-7
QUICK = {
    "dpo": {"objective": "dpo(beta=0.5)"},
    "sampo": {"objective": "sampo(beta=0.5)"},
    "kto": {"objective": "kto(beta=0.5)"},
    "aot": {"objective": "aot(beta=0.5)"},
    "beta_dpo": {"objective": "beta_dpo(beta=0.5)"},
    "with sft": {"objective": "dpo(beta=0.5) + 0.2*sft()"},
    "coupled, with a source": {
        "objective": "aot(beta=0.5) + 0.2*sft(source='texts')",
        "auxiliary": True,
    },
    "evaluated": {"objective": "simpo(beta=2.0)", "evaluation": True},
}
CASES = {
    **QUICK,
    "with a source": {"objective": "dpo(beta=0.5) + 0.2*sft(source='texts')", "auxiliary": True},
    "adapters": {"objective": "dpo(beta=0.5)", "lora": {"rank": 4}},
}
each = pytest.mark.parametrize(
    ("processes", "case"),
    [(2, case) for case in QUICK]
    + [pytest.param(4, case, marks=pytest.mark.soak) for case in CASES],
)


def settings_of(case, keys, files, output):
    more = dict(CASES[case])
    if more.pop("auxiliary", False):
        more["auxiliary"] = {"texts": files["texts"]}
    if more.pop("evaluation", False):
        more["evaluation"] = {"data": files["pairs"], "every": 2, "rows": 11, "samples": 0}
    return keys(output, **more)


@pytest.fixture(scope="module")
def company(keys, files, in_company, tmp_path_factory):
    """The folder of the runs of so many processes; all of them are made at the first question."""
    made: dict[int, Path] = {}

    def of(processes: int) -> Path:
        if processes not in made:
            runs = made[processes] = tmp_path_factory.mktemp(f"by{processes}")
            cases = QUICK if processes == 2 else CASES
            asked = [settings_of(case, keys, files, runs / case) for case in cases]
            in_company(processes, asked)
        return made[processes]

    return of


@pytest.fixture(scope="module")
def single(keys, files, alone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("by1")

    def run(case) -> Path:
        output = folder / case
        if not output.exists():
            alone(settings_of(case, keys, files, output))
        return output

    return run


def weights(run):
    (file,) = run.glob("*.safetensors")
    return load_file(file)


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@each
def test_the_weights_are_those_of_one_process(processes, case, company, single):
    one, many = weights(single(case)), weights(company(processes) / case)
    assert one.keys() == many.keys()
    for name, weight in one.items():
        torch.testing.assert_close(many[name], weight, atol=TOLERANCE, rtol=0)


@each
def test_every_line_of_metrics_is_that_of_one_process(processes, case, company, single):
    one, many = lines(single(case)), lines(company(processes) / case)
    assert len(one) == len(many)
    for ours, theirs in zip(one, many, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - {"seconds"}:
            assert theirs[name] == pytest.approx(ours[name], rel=1e-5, abs=1e-6), name


def test_one_process_writes_the_folder(company, single):
    def names(run):
        return sorted(path.name for path in run.iterdir())

    assert names(company(2) / "evaluated") == names(single("evaluated"))


@pytest.mark.soak
def test_accelerate_launches_it_too(keys, single, torchrun, tmp_path):
    settings = tmp_path / "runs.json"
    case = CASES["with sft"]
    settings.write_text(json.dumps([keys(tmp_path / "run", **case)]))
    worker = Path(__file__).parent / "worker.py"
    ended = torchrun(2, worker, settings, with_accelerate=True)
    assert ended.returncode == 0, ended.stderr[-4000:]
    one, many = weights(single("with sft")), weights(tmp_path / "run")
    for name, weight in one.items():
        torch.testing.assert_close(many[name], weight, atol=TOLERANCE, rtol=0)
