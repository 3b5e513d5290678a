"""References that follow the policy (TR-DPO): longhand, in checkpoints, through a kill."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from truing import train
from truing.errors import ResumeError
from truing.references.moving import MovingReference
from truing.references.policies import Ema, Sync


def two_layers(value):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    for weight in model.parameters():
        nn.init.constant_(weight, value)
    return model


def put(model, value):
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.fill_(value)


def said(moving):
    with moving.opened() as model:
        return [float(weight.detach().mean()) for weight in model.parameters()]


@pytest.mark.parametrize("has_adapters", [False, True])
def test_the_average_is_that_of_the_paper(has_adapters):
    policy = two_layers(0.0)
    if has_adapters:
        policy[0].requires_grad_(requires_grad=False)
    moving = MovingReference(Ema(decay=0.4, every=2), policy, has_adapters=has_adapters)
    reference = 0.0
    for step, weight in enumerate([1.0, 3.0, -2.0, 5.0], start=1):
        put(policy, weight)
        moved = moving.update(step)
        assert moved == (step % 2 == 0)
        if moved:
            reference = 0.4 * reference + 0.6 * weight
        learned = said(moving)[2:]
        assert learned == pytest.approx([reference] * 2)
        assert [float(w.detach().mean()) for w in list(policy.parameters())[2:]] == [weight] * 2
    if has_adapters:
        assert said(moving)[:2] == [0.0, 0.0]
        assert moving.bytes == 6 * 4
    else:
        assert moving.bytes == 12 * 4


def test_a_hard_update_takes_the_policy_over():
    policy = two_layers(0.0)
    moving = MovingReference(Sync(every=3), policy, has_adapters=False)
    for step in (1, 2):
        put(policy, float(step))
        moving.update(step)
    assert said(moving) == [0.0] * 4
    put(policy, 7.0)
    moving.update(3)
    put(policy, 8.0)
    assert said(moving) == [7.0] * 4


def test_it_goes_on_from_a_checkpoint_and_asks_for_one(tmp_path):
    policy = two_layers(1.0)
    moving = MovingReference(Ema(decay=0.5), policy, has_adapters=False)
    put(policy, 2.0)
    moving.update(1)
    moving.save(tmp_path)
    other = MovingReference(Ema(decay=0.5), policy, has_adapters=False)
    other.load(tmp_path)
    assert said(other) == said(moving) == [1.5] * 4
    with pytest.raises(ResumeError, match="no moving reference"):
        other.load(tmp_path / "nowhere")


@pytest.fixture
def keys(start, pairs):
    return {
        "model": start,
        "data": str(pairs),
        "pairs_per_step": 4,
        "learning_rate": 3e-4,
        "seed": 5,
        "trainer": {"save_strategy": "no"},
    }


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_starts_at_its_moving_reference_and_stays_near_it(keys, tmp_path):
    fixed = train(**keys, output=tmp_path / "fixed")
    notes = []

    class Listener:
        from truing.core.progress import Silent as _Silent

        task, track = _Silent.task, _Silent.track

        def note(self, text):
            notes.append(text)

    moving = train(
        **keys, output=tmp_path / "ema", reference="ema(decay=0.4, every=1)", progress=Listener()
    )
    first, last = lines(moving.output)[0], lines(moving.output)[-1]
    assert first["loss"] == pytest.approx(np.log(2), abs=1e-6)
    assert first["reference/distance"] < 1e-6
    assert 0 < last["reference/distance"] < 0.7 * lines(fixed.output)[-1]["reference/distance"]
    assert any("stays in memory (a second copy of the weights, 3.5 MB)" in note for note in notes)


def test_a_hard_reference_is_the_policy_again_after_each_update(keys, tmp_path):
    run = train(**keys, output=tmp_path / "run", reference="sync(every=2)", lora={"rank": 4})
    losses = [line["loss"] for line in lines(run.output)]
    assert losses[0] == losses[2] == pytest.approx(np.log(2), abs=1e-6)
    assert losses[1] < losses[0]


def test_killed_at_any_moment_it_ends_with_the_same_weights(keys, tmp_path):
    def command(output):
        text = [f"{k}={v}" for k, v in keys.items() if k != "trainer"]
        more = ["epochs=1.5", "trainer.save_steps=1", "reference=ema(decay=0.4, every=2)"]
        return [sys.executable, "-m", "truing", "train", *text, *more, f"output={output}"]

    whole = train(
        **keys, output=tmp_path / "whole", epochs=1.5, reference="ema(decay=0.4, every=2)"
    )
    run = tmp_path / "run"
    process = subprocess.Popen(command(run), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    # An odd step: the reference stands between two updates.
    while not (run / "checkpoint-3").exists() and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    from truing.jobs.train import resume

    resume(run)
    one, two = (load_file(r / "model.safetensors") for r in (whole.output, run))
    assert all(one[name].equal(two[name]) for name in one)
