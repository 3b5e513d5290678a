"""Which rows make which step depends on seed and epoch alone, and a resumed run goes on there."""

import json

import pytest
from accelerate import skip_first_batches

from truing.training import folder
from truing.training.steps import StepLoader, StepSampler


def order(sampler, epoch):
    sampler.set_epoch(epoch)
    return [list(step) for step in sampler]


def test_every_row_is_used_once_an_epoch_and_the_last_step_may_be_short():
    steps = order(StepSampler(10, 4, seed=3, shuffle=True), 0)
    assert [len(step) for step in steps] == [4, 4, 2]
    assert sorted(row for step in steps for row in step) == list(range(10))


def test_the_order_is_a_function_of_seed_and_epoch():
    one, other = (StepSampler(50, 7, seed=3, shuffle=True) for _ in range(2))
    assert order(one, 1) == order(other, 1)
    assert order(one, 0) != order(one, 1)
    assert order(one, 0) != order(StepSampler(50, 7, seed=4, shuffle=True), 0)


def test_without_shuffle_the_order_is_that_of_the_files():
    sampler = StepSampler(5, 2, seed=3, shuffle=False)
    assert order(sampler, 0) == order(sampler, 4) == [[0, 1], [2, 3], [4]]


def test_a_loader_that_skips_goes_on_with_the_same_steps():
    loader = StepLoader(StepSampler(20, 3, seed=1, shuffle=True), 20)
    loader.set_epoch(2)
    whole = [step.indices for step in loader]
    skipped = skip_first_batches(loader, 4)
    skipped.batch_sampler.batch_sampler.set_epoch(2)
    assert [step.indices for step in skipped] == whole[4:]


def test_a_folder_written_aside_is_whole_or_not_there(tmp_path):
    target = tmp_path / "checkpoint-3"

    def fill_and_fail():
        with folder.folder_written_aside(target) as aside:
            (aside / "weights").write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fill_and_fail()
    assert list(tmp_path.iterdir()) == []
    with folder.folder_written_aside(target) as aside:
        (aside / "weights").write_text("whole")
        assert folder.checkpoints(tmp_path) == []
    assert folder.checkpoints(tmp_path) == [target]
    assert (target / "weights").read_text() == "whole"


def test_checkpoints_are_sorted_by_step_not_by_name(tmp_path):
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-x", ".checkpoint-11.writing"):
        (tmp_path / name).mkdir()
    assert [path.name for path in folder.checkpoints(tmp_path)] == ["checkpoint-9", "checkpoint-10"]
    folder.sweep(tmp_path)
    assert not (tmp_path / ".checkpoint-11.writing").exists()


def test_metrics_are_cut_back_to_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for step in (1, 2, 3, 4):
        folder.append_line(path, {"step": step, "loss": 0.5})
    with path.open("a") as file:
        file.write('{"step": 5, "lo')
    folder.cut_back(path, 3)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]
