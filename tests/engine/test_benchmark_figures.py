"""What the engine's benchmark makes of the runs of its tools."""

import importlib.util
import json
import subprocess
import sys

import pytest
import torch


@pytest.fixture(scope="module")
def figures(repository):
    """The module `benchmarks/figures.py`."""
    spec = importlib.util.spec_from_file_location("figures", repository / "benchmarks/figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_of(tool, pairs_per_s=1.0, round=0, loss_last=0.69, **more):
    return {
        "case": "hh",
        "tool": tool,
        "round": round,
        "pairs_per_s": pairs_per_s,
        "tokens_per_s": 100 * pairs_per_s,
        "peak_rss_mb": 100.0,
        "loss_first": 0.6931,
        "loss_last": loss_last,
        "lora": 0,
        "dtype": "float32",
        **more,
    }


def bound(pairs_per_s, round=0):
    line = run_of("gemm_bound", pairs_per_s, round)
    return {key: value for key, value in line.items() if not key.startswith("loss")}


def test_a_round_in_which_a_tool_beats_the_bound_is_left_out_of_the_medians(figures):
    quiet = [run_of("truing", 4.0), run_of("padded", 2.0), bound(5.0)]
    noisy = [run_of("truing", 4.4, 1), run_of("padded", 0.5, 1), bound(2.46, 1)]
    (found,) = [one for one in figures.ratios(quiet + noisy) if one["tool"] == "padded"]
    assert (found["rounds"], found["times_as_fast"]) == (1, 2.0)
    (told,) = figures.warnings(quiet + noisy)
    assert "hh, round 2" in told
    assert "truing 1.79 times" in told


def test_a_case_whose_every_round_is_disturbed_has_no_figure(figures):
    runs = [run_of("truing", 4.4), run_of("padded", 1.0), bound(2.0)]
    assert list(figures.ratios(runs)) == []
    assert "no figure for hh" in figures.report(runs)


def test_a_tool_as_fast_as_the_bound_within_its_noise_counts(figures):
    runs = [run_of("truing", 2.05), bound(2.0)]
    assert figures.disturbed(runs) == []


def test_a_loss_that_differs_in_an_earlier_round_alone_is_found(figures):
    first = [run_of("truing"), run_of("padded", loss_last=0.6)]
    second = [run_of("truing", round=1), run_of("padded", round=1)]
    (told,) = figures.disagreements(first + second)
    assert "loss_last" in told


def test_with_adapters_the_last_losses_of_truings_paths_are_compared_and_no_others(figures):
    adapters = [
        run_of("truing", lora=8, loss_last=0.65),
        run_of("truing_packed", lora=8, loss_last=0.65 + 5e-5),
        run_of("padded", lora=8, loss_last=0.6),
    ]
    assert figures.disagreements(adapters) == []
    other = run_of("truing_padded", lora=8, loss_last=0.65 + 5e-4)
    (told,) = figures.disagreements([*adapters, other])
    assert "truing_padded" in told
    assert "'padded'" not in told


def test_a_loss_that_is_no_number_agrees_with_nothing(figures):
    runs = [run_of("truing"), run_of("padded", loss_last=float("nan"))]
    assert figures.disagreements(runs)


def test_the_saving_of_time_is_held_against_the_saving_of_tokens(figures):
    tokens = {"shared": 100, "packed": 400, "padded": 800}
    runs = [
        run_of("truing", 3.0, in_order=True, forward_tokens=tokens),
        run_of("truing_packed", 1.0, in_order=True, forward_tokens=tokens),
    ]
    (found,) = figures.savings(runs)
    assert found["saving_of_tokens"] == 4.0
    assert found["saving_of_tokens_to_the_0.8"] == round(4**0.8, 3)
    assert not found["reached"]  # 3.0 of 3.03
    runs[0]["pairs_per_s"] = 3.1
    assert next(figures.savings(runs))["reached"]
    assert "| 4.00 | 3.10 | 3.03 | yes |" in figures.report(runs)


def test_kept_files_are_told_as_one_benchmark(repository, shared, tmp_path):
    del shared
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, speed in zip(paths, (4.0, 3.0), strict=True):
        runs = [run_of("truing", speed), run_of("padded", 1.0)]
        path.write_text(json.dumps({"date": "2026-01-01", "runs": runs}))
    command = [sys.executable, "benchmarks/engine.py", "--from-json", *map(str, paths)]
    done = subprocess.run(command, check=True, cwd=repository, capture_output=True, text=True)
    assert "3.50 (3.00-4.00)" in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_refused_in_one_sentence(repository, shared):
    del shared
    command = [sys.executable, "benchmarks/engine.py", "--device", "cuda"]
    done = subprocess.run(command, check=False, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "--device cuda: torch finds no CUDA device on this machine",
    ]
