"""One of several processes dies, is slow, or is asked to stop: all of them end as one."""

import json
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from truing.jobs.train import resume
from truing.training import folder

FAULTY = Path(__file__).parent / "faulty.py"
# Float64 through another order of additions.
TOLERANCE = 1e-7
A_MINUTE = 60


@pytest.fixture
def struck(keys, torchrun, tmp_path):
    """A run of two processes with a fault in one; what was said, and how long it took."""

    def run(fault: str, rank: int, **trainer):
        settings = keys(
            tmp_path / "run", trainer={"save_strategy": "steps", "save_steps": 1, **trainer}
        )
        file = tmp_path / "settings.json"
        file.write_text(json.dumps(settings))
        began = time.monotonic()
        ended = torchrun(2, FAULTY, file, fault, rank)
        return tmp_path / "run", ended, time.monotonic() - began

    return run


@pytest.fixture(scope="module")
def whole(keys, alone, tmp_path_factory):
    """The undisturbed run of one process."""
    output = tmp_path_factory.mktemp("whole") / "run"
    alone(keys(output))
    return output


def assert_same(one: Path, other: Path) -> None:
    first, second = (load_file(run / "model.safetensors") for run in (one, other))
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, atol=TOLERANCE, rtol=0)


@pytest.mark.soak
@pytest.mark.parametrize("rank", [0, 1])
def test_when_one_process_dies_the_others_stop_and_the_run_goes_on_in_one(struck, whole, rank):
    run, ended, seconds = struck("dies", rank)
    assert ended.returncode != 0
    assert seconds < A_MINUTE
    assert "another process of this run was lost" in ended.stderr or "SIGKILL" in ended.stderr
    # Two steps were done by two processes; one does the rest.
    assert [folder.step_of(path) for path in folder.checkpoints(run)] == [1, 2], ended.stderr
    assert resume(run).finished
    assert_same(whole, run)


def test_a_wish_to_stop_that_one_process_hears_stops_all_after_the_same_step(struck, whole):
    run, ended, _ = struck("asks", 1)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert not (run / folder.FINISHED).exists()
    assert folder.step_of(folder.checkpoints(run)[-1]) == 3
    assert resume(run).finished
    assert_same(whole, run)


def test_a_checkpoint_in_which_a_process_died_is_never_gone_on_from(struck, whole):
    run, ended, seconds = struck("dies_writing", 1, fsdp=True)
    assert ended.returncode != 0
    assert seconds < A_MINUTE
    # The third step was done, and its checkpoint never took its name.
    assert [folder.step_of(path) for path in folder.checkpoints(run)] == [1, 2], ended.stderr
    assert resume(run).finished
    assert not list(run.glob(".checkpoint*"))
    assert_same(whole, run)


@pytest.mark.soak
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("fsdp", [False, True], ids=["whole", "sharded"])
def test_one_full_disk_stops_all_with_the_last_checkpoint_whole(struck, whole, rank, fsdp):
    run, ended, seconds = struck("fills", rank, fsdp=fsdp)
    if rank == 1 and not fsdp:
        # The first process alone writes whole weights.
        assert ended.returncode == 0, ended.stderr[-2000:]
        return
    assert "exitcode  : 3" in ended.stderr, ended.stderr[-2000:]
    assert "cannot be written" in " ".join(ended.stderr.split())
    assert seconds < A_MINUTE
    assert [folder.step_of(path) for path in folder.checkpoints(run)] == [1, 2], ended.stderr
    assert not list(run.glob(".checkpoint*"))
    assert resume(run).finished
    assert_same(whole, run)


def test_one_process_without_memory_stops_all_with_what_would_fit(struck, whole):
    # The state before the step lies in no checkpoint, and the other one cannot be asked for it.
    run, ended, seconds = struck("lacks_memory", 1, save_steps=3)
    assert ended.returncode != 0
    assert seconds < A_MINUTE
    assert "[rank 1]" in ended.stderr
    assert "out of memory at step 3" in " ".join(ended.stderr.split())
    assert resume(run).finished
    assert_same(whole, run)


@pytest.mark.soak
def test_a_slow_process_is_waited_for(struck, whole):
    run, ended, _ = struck("sleeps", 1)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert_same(whole, run)


@pytest.mark.soak
def test_a_process_that_stays_silent_is_given_up(struck):
    run, ended, seconds = struck("sleeps", 1, ddp_timeout=1)
    assert ended.returncode != 0
    assert seconds < A_MINUTE
    assert "was lost or stayed silent" in ended.stderr
    assert folder.checkpoints(run)
