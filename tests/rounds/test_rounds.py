"""Rounds: each begins where the last one ended, with the reference and the pairs it was told."""

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from pyarrow import parquet
from safetensors.torch import load_file

from truing import train
from truing.config import Rounds
from truing.data import read_rows
from truing.errors import DivergedError, TruingError
from truing.jobs.rounds import check_rounds
from truing.jobs.train import resume
from truing.world import prompts


def weights(folder) -> dict[str, torch.Tensor]:
    return load_file(str(Path(folder) / "model.safetensors"))


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def first_line(path: Path) -> dict:
    return lines_of(path)[0]


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def config_of(run: Path) -> dict:
    import yaml

    return yaml.safe_load((run / "run.yaml").read_text())


@pytest.fixture(scope="module")
def two_rounds(tmp_path_factory):
    """Iterative DPO on pairs that each round samples, with a measure."""
    from truing.world import model_folder

    output = tmp_path_factory.mktemp("rounds") / "run"
    result = train(
        model=str(model_folder()),
        objective="dpo(beta=0.3)",
        pairs_per_step=4,
        learning_rate=1e-3,
        seed=5,
        output=str(output),
        rounds={
            "count": 2,
            "pairs": "resampled",
            "prompts": "world(rows=10)",
            "sampler": "generate(num_responses=3, max_new_tokens=48)",
            "scorer": "world()",
            "measure": {"prompts": "world(split='test', rows=6)", "max_new_tokens": 48},
        },
    )
    return output, result


def test_one_round_is_the_plain_run_to_the_bit(least, pairs_file, tmp_path):
    train(**least, data=pairs_file, output=str(tmp_path / "plain"))
    train(**least, data=pairs_file, output=str(tmp_path / "one"), rounds={"count": 1})
    assert same(weights(tmp_path / "plain"), weights(tmp_path / "one"))


def test_a_round_begins_where_the_last_one_ended(two_rounds):
    output, _ = two_rounds
    second = config_of(output / "rounds/2/train")
    assert second["model"] == str(output / "rounds/1/train")
    assert second["reference"] == "policy_start()"
    first = first_line(output / "rounds/2/train/metrics.jsonl")
    assert first["loss"] == pytest.approx(0.6931, abs=1e-3)  # the policy is its own reference


def test_pairs_of_a_round_are_said_by_its_policy(two_rounds):
    output, _ = two_rounds
    plans = [json.loads((output / f"rounds/{n}/pairs/plan.json").read_text()) for n in (1, 2)]
    assert plans[0]["policy"] != plans[1]["policy"]
    said = [list(read_rows(output / f"rounds/{n}/pairs/pairs.parquet")) for n in (1, 2)]
    assert {row.responses for row in said[0]} != {row.responses for row in said[1]}


def test_the_run_folder_is_that_of_the_last_round(two_rounds):
    output, result = two_rounds
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert same(weights(output), weights(output / "rounds/2/train"))
    AutoModelForCausalLM.from_pretrained(output)
    AutoTokenizer.from_pretrained(output)
    lines = lines_of(output / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, result.steps + 1))
    assert {line["round"] for line in lines} == {1, 2}
    assert (output / "finished.json").exists()


def test_every_round_says_what_it_did(two_rounds):
    output, result = two_rounds
    lines = lines_of(output / "rounds.jsonl")
    assert [line["round"] for line in lines] == [1, 2]
    for line in lines:
        assert line["score_low"] <= line["score"] <= line["score_high"]
        assert 0 <= line["win_rate"] <= 1
        assert line["kl"] > 0
        assert line["responses"] == 6
    assert result.evaluation["score"] == lines[-1]["score"]
    page = (output / "report.html").read_text()
    assert "Is every round better than the one before?" in page


def test_checkpoints_of_finished_rounds_are_gone(two_rounds):
    output, _ = two_rounds
    assert not list(output.rglob("checkpoint-*"))


def test_a_frozen_reference_is_the_first_start(least, pairs_file, tmp_path):
    rounds = {"count": 2, "reference": "frozen"}
    train(**least, data=pairs_file, output=str(tmp_path / "run"), rounds=rounds)
    second = config_of(tmp_path / "run/rounds/2/train")
    assert second["reference"] == f"model(path={least['model']!r})"
    first = first_line(tmp_path / "run/rounds/2/train/metrics.jsonl")
    assert abs(first["loss"] - 0.6931) > 1e-3


def test_an_extrapolated_round_begins_beyond(least, pairs_file, tmp_path):
    rounds = {"count": 3, "reference": "extrapolate(alpha=0.5)"}
    train(**least, data=pairs_file, output=str(tmp_path / "run"), rounds=rounds)
    ends = [weights(least["model"])]
    ends += [weights(tmp_path / f"run/rounds/{n}/train") for n in (1, 2)]
    for number, (before, end) in enumerate(itertools.pairwise(ends), start=2):
        began = weights(tmp_path / f"run/rounds/{number}/start")
        for name, value in began.items():
            wanted = end[name] + 0.5 * (end[name] - before[name])
            assert torch.allclose(value, wanted, atol=1e-7)
    first = first_line(tmp_path / "run/rounds/3/train/metrics.jsonl")
    assert first["loss"] == pytest.approx(0.6931, abs=1e-3)


def test_adapters_are_extrapolated_by_their_merged_difference(least, pairs_file, tmp_path):
    rounds = {"count": 2, "reference": "extrapolate(alpha=0.5)"}
    keys = {**least, "data": pairs_file, "rounds": rounds, "lora": {"rank": 4}}
    train(**keys, output=str(tmp_path / "run"))
    start, merged = weights(least["model"]), weights(tmp_path / "run/rounds/1/merged")
    began = weights(tmp_path / "run/rounds/2/start")
    adapters = load_file(str(tmp_path / "run/rounds/1/train/adapter_model.safetensors"))
    scale = 32.0 / 4
    moved = 0
    for name, value in began.items():
        key = f"base_model.model.{name.removesuffix('.weight')}.lora_{{}}.weight"
        delta = torch.zeros_like(value)
        if key.format("A") in adapters:
            delta = scale * adapters[key.format("B")] @ adapters[key.format("A")]
            moved += 1
        assert torch.allclose(merged[name], start[name] + delta, atol=1e-6)
        assert torch.allclose(value, start[name] + 1.5 * delta, atol=1e-6)
    assert moved > 0
    assert (tmp_path / "run/model.safetensors").exists()


def test_an_optimizer_that_is_kept_remembers(least, pairs_file, tmp_path):
    rounds = {"count": 2, "optimizer": "keep"}
    train(**least, data=pairs_file, output=str(tmp_path / "run"), rounds=rounds)
    first, second = (
        torch.load(tmp_path / f"run/rounds/{n}/train/moments.pt", weights_only=True) for n in (1, 2)
    )
    assert (first[0]["step"].item(), second[0]["step"].item()) == (3, 6)
    # Adam forgets a squared gradient by 0.999 a step: what the first round saw is still there.
    kept = 0.999**3 * first[0]["exp_avg_sq"]
    assert (second[0]["exp_avg_sq"] >= kept * (1 - 1e-5)).all()


def test_parts_are_disjoint_and_all_there(least, pairs_file, tmp_path):
    rounds = {"count": 2, "pairs": "parts"}
    train(**least, data=pairs_file, output=str(tmp_path / "run"), rounds=rounds)
    parts = [
        [(row.prompt, row.responses) for row in read_rows(tmp_path / f"run/rounds/{n}/part.jsonl")]
        for n in (1, 2)
    ]
    everything = sorted((row.prompt, row.responses) for row in read_rows(pairs_file))
    assert sorted(row for part in parts for row in part) == everything
    prompts = [{prompt for prompt, _ in part} for part in parts]
    assert not prompts[0] & prompts[1]


def test_pairs_of_the_start_are_sampled_once_for_all_rounds(least, resampled, tmp_path):
    rounds = {**resampled, "pairs": "fixed"}
    result = train(**least, output=str(tmp_path / "run"), rounds=rounds)
    assert (tmp_path / "run/rounds/0/pairs/pairs.parquet").exists()
    assert not (tmp_path / "run/rounds/2/pairs").exists()
    assert len({line["rows"] for line in result.rounds}) == 1


def test_a_round_without_pairs_stops_with_its_state(least, resampled, tmp_path):
    rounds = {**resampled, "select": "best_vs_worst(min_gap=100.0)"}
    with pytest.raises(DivergedError, match="no pair was selected"):
        train(**least, output=str(tmp_path / "run"), rounds=rounds)


SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from truing import train
from truing.config import Rounds
from truing.jobs.rounds import check_rounds
from truing.jobs.train import resume
from truing.world import model_folder
if sys.argv[1] == "train":
    train(model=str(model_folder()), objective="dpo(beta=0.3)", pairs_per_step=4, seed=5,
          learning_rate=1e-3, epochs=2, output=sys.argv[2], trainer={"save_steps": 2},
          rounds={"count": 2, "pairs": "resampled", "prompts": "world(rows=10)",
                  "optimizer": "keep", "reference": "extrapolate(alpha=0.3)",
                  "sampler": "generate(num_responses=3, max_new_tokens=48)", "scorer": "world()"})
"""


def killed_when(sign: Path, output: Path) -> None:
    """Start the loop, and kill it as soon as a file is there."""
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, "train", str(output)],
        start_new_session=True,
    )
    while child.poll() is None and not sign.exists():
        time.sleep(0.01)
    assert child.poll() is None, "it came to its end before it could be killed"
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@pytest.mark.parametrize(
    "moment",
    ["rounds/2/train/checkpoint-2", pytest.param("rounds/2/start", marks=pytest.mark.soak),
     pytest.param("rounds/2/pairs/samples", marks=pytest.mark.soak),
     pytest.param("rounds/1/train/metrics.jsonl", marks=pytest.mark.soak)],
)  # fmt: skip
def test_a_killed_loop_goes_on_at_its_step_to_the_same_weights(tmp_path, moment, monkeypatch):
    killed_when(tmp_path / "killed" / moment, tmp_path / "killed")
    before = sorted(tmp_path.glob("killed/rounds/1/pairs/manifest/*"))
    times = [path.stat().st_mtime_ns for path in before]
    result = resume(tmp_path / "killed")
    assert result.finished
    monkeypatch.setattr(sys, "argv", ["", "train", str(tmp_path / "calm")])
    exec(compile(SCRIPT, "calm", "exec"), {})
    assert same(weights(tmp_path / "killed"), weights(tmp_path / "calm"))
    assert [path.stat().st_mtime_ns for path in before] == times


def test_a_held_out_response_without_a_score_counts_as_the_worst_and_is_counted():
    from truing.jobs.round_measures import Heard, _known

    scores = (math.nan, 2.0, -1.0)
    assert _known(scores).tolist() == [-1.0, 2.0, -1.0]
    assert Heard(("x",) * 3, ((1,),) * 3, (True,) * 3, scores).num_unscored == 1


PICKY = """
def score(prompt, response):
    if "e" in response.split()[-1]:
        raise OSError("away")
    return len(response)
"""


def test_a_round_lets_cut_responses_in_and_says_what_could_not_be_scored(
    least, tmp_path, monkeypatch
):
    (tmp_path / "picky_scores.py").write_text(PICKY)
    monkeypatch.syspath_prepend(tmp_path)
    rounds = {
        "count": 1,
        "pairs": "resampled",
        "prompts": "world(rows=6)",
        "sampler": "generate(num_responses=3, max_new_tokens=6)",
        "scorer": "python(call='picky_scores:score')",
        "keep_cut": True,
        "measure": {"prompts": "world(rows=8)", "max_new_tokens": 6},
    }
    output = tmp_path / "run"
    train(**least, output=str(output), rounds=rounds)
    (line,) = lines_of(output / "rounds.jsonl")
    heard = json.loads((output / "rounds/1/measured.json").read_text())
    assert 0 < line["unscored"] == sum(map(math.isnan, heard["scores"])) < 8
    assert "NaN" not in (output / "samples.jsonl").read_text()
    finished = parquet.read_table(sorted((output / "rounds/1/pairs/manifest").iterdir())[0])[
        "finished"
    ].to_pylist()
    assert all(sum(one) < 2 for one in finished)  # without `keep_cut` there would be no pair
    asked = [line["prompt"] for line in lines_of(output / "samples.jsonl")]
    assert asked == [one.text for one in prompts("test")[:8]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"select": "best()"},
        {"sampler": "generated()"},
        {"scorer": "lexicon(path='nowhere.tsv')"},
        {"measure": {"prompts": "nowhere.jsonl"}},
        {"sampler": "folder(path='x')", "keep_cut": True},
        {"measure": {"prompts": "world(split='test', rows=2)", "scorer": "wrld()"}},
    ],
)
def test_what_a_later_step_cannot_read_is_refused_before_the_first(tmp_path, wrong):
    from truing.world import model_folder

    rounds = {"count": 1, "pairs": "resampled", "prompts": "world(rows=2)", "scorer": "world()"}
    with pytest.raises(TruingError):
        train(
            model=str(model_folder()),
            objective="dpo()",
            output=str(tmp_path / "run"),
            rounds={**rounds, **wrong},
        )
    assert not (tmp_path / "run").exists()


def test_rounds_may_take_samples_that_are_there():
    check_rounds(Rounds(count=1, prompts="world(rows=2)", scorer="given()",
                        sampler="folder(path='x')"))  # fmt: skip
