"""Nothing that happens to the store makes a wrong value, or loses more than one shard."""

import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from truing.core.progress import SILENT, Silent
from truing.errors import StoreError
from truing.references import stored
from truing.references.store import Shelf
from truing.references.stored import stored_values
from truing.references.weights import weights_hash

# Computes a reference, a shard after each response, and hangs after so many passes.
SLOW = """
import sys, time
import torch
torch.set_num_threads(1)
from truing.core.progress import Silent
from truing.engine.models import load_model
from truing.engine.steady import Alone, SteadyPacked
from truing.references import stored
from truing.references.keys import ModelKey
from truing.references.weights import weights_hash
import numpy as np

passes = []

class Steady(SteadyPacked):
    def logps(self, model, rows):
        passes.append(1)
        if len(passes) == int(sys.argv[2]):
            time.sleep(600)
        return super().logps(model, rows)

class Show(Silent):
    def note(self, text):
        print(text, flush=True)

stored.SHARD_TOKENS = 1
start = sys.argv[1]
key = ModelKey(weights_hash(start), "float32", attention="slow")
source = stored.Source(load_model(start, torch.float32), Steady(True, 128), start, key, lambda: key)
draw = np.random.default_rng(3)
rows = [Alone(draw.integers(3, 90, 40), (draw.integers(3, 90, 60),)) for _ in range(24)]
print("ready", flush=True)
filled = stored.stored_values(source, rows, Show())
print(filled.computed, filled.hits, float(np.concatenate(filled.values).sum()), flush=True)
"""


def slow(start, hangs_after=0):
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, start, str(hangs_after)], stdout=subprocess.PIPE, text=True
    )


def last_line(process):
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    computed, hits, total = out.splitlines()[-1].split()
    return int(computed), int(hits), float(total)


def shards(store):
    return len(list(store.glob("*/*.arrow")))


def test_killed_in_the_middle_it_goes_on_and_two_share_the_work(start, store):
    first = slow(start, hangs_after=5)
    second = None
    try:
        while shards(store) < 4:
            assert first.poll() is None
            time.sleep(0.01)
        # A second one comes, and waits; the first is killed: the second takes what is there.
        second = slow(start)
        assert second.stdout is not None
        while "waiting" not in (line := second.stdout.readline()):
            assert line
        first.send_signal(signal.SIGKILL)
        first.communicate()
        assert shards(store) == 4
        computed, hits, total = last_line(second)
        assert (computed, hits) == (20, 4)
    finally:
        for process in filter(None, (first, second)):
            if process.poll() is None:
                process.kill()
                process.communicate()
    assert not list(store.glob("*/*.part"))
    # All of it is there now, and the same as where nothing was interrupted.
    assert last_line(slow(start)) == (0, 24, total)


def test_a_flipped_byte_is_found_and_its_rows_are_computed_again(source, rows, monkeypatch):
    source = replace(source, engine=replace(source.engine, budget=256))
    monkeypatch.setattr(stored, "SHARD_TOKENS", 1)
    whole = stored_values(source, rows, SILENT).values
    shelf = Shelf.of(source.key)
    path = shelf.shards()[-1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert [path.name] == list(shelf.contents().damaged)
    again = stored_values(source, rows, SILENT)
    assert again.computed > 0
    assert "damaged shard" in " ".join(again.notes)
    assert all(np.array_equal(a, b) for a, b in zip(again.values, whole, strict=True))
    assert not shelf.contents().damaged


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_shard_cut_short_is_never_read(source, rows, cut):
    stored_values(source, rows, SILENT)
    path = Shelf.of(source.key).shards()[0]
    path.write_bytes(path.read_bytes()[:cut])
    assert stored_values(source, rows, SILENT).computed > 0


def test_a_full_disk_leaves_the_store_valid_and_the_run_with_its_values(source, rows, store):
    stored_values(source, rows[:20], SILENT)
    before = Shelf.of(source.key).contents()
    whole = stored_values(source, rows, SILENT, shelf_of=lambda key: Shelf(store / "other"))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limit[1]))
    try:
        full = stored_values(source, rows, SILENT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert "File too large" in full.fault
    assert all(np.array_equal(a, b) for a, b in zip(full.values, whole.values, strict=True))
    assert Shelf.of(source.key).contents() == before
    assert not list(store.glob("*/*.part"))
    assert stored_values(source, rows, SILENT).fault == ""


def test_a_store_that_cannot_be_made_is_said_by_compute(start, pairs, monkeypatch, tmp_path):
    from truing.jobs.references import compute

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRUING_CACHE", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="cannot be stored"):
        compute(model=start, data=str(pairs))


def test_weights_changed_in_place_are_noticed(copied):
    before = weights_hash(str(copied))
    path = copied / "model.safetensors"
    weights = load_file(path)
    name = sorted(weights)[0]
    weights[name] = weights[name] + 1e-3
    save_file(weights, path, metadata={"format": "pt"})
    assert weights_hash(str(copied)) != before


def test_weights_changed_behind_the_same_time_are_noticed_by_what_they_say(
    source, rows, copied, model
):
    path = copied / "model.safetensors"
    old = path.stat()

    def key(*, trusts_memory=True):
        digest = weights_hash(str(copied), trusts_memory=trusts_memory)
        return replace(source.key, weights=digest)

    own = replace(source, path=str(copied), key=key(), reread=lambda: key(trusts_memory=False))
    stored_values(own, rows, SILENT)
    changed = load_file(path)
    name = next(n for n in sorted(changed) if "mlp" in n)
    changed[name] = changed[name] + 0.05
    data = path.read_bytes()
    save_file(changed, path.with_suffix(".new"), metadata={"format": "pt"})
    fresh = path.with_suffix(".new").read_bytes()
    assert len(fresh) == len(data)
    with path.open("r+b") as file:  # the same file, size and inode
        file.write(fresh)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert key() == own.key, "the memory of the hash is deceived, which is what this test is about"
    with torch.no_grad():
        weight = dict(model.named_parameters())[name]
        kept = weight.detach().clone()
        weight.copy_(changed[name])
    try:
        again = stored_values(replace(own, model=model), rows, SILENT)
    finally:
        with torch.no_grad():
            weight.copy_(kept)
    assert again.computed == 2 * len(rows)
    assert "weights have changed" in " ".join(again.notes)


def test_values_that_are_not_the_models_are_thrown_away(source, rows):
    whole = stored_values(source, rows, SILENT).values
    shelf = Shelf.of(source.key)
    shelf.refresh()
    wrong = {key: values - 1 for key, values in shelf._known.items()}
    shelf.forget()
    shelf.put(list(wrong), list(wrong.values()))
    again = stored_values(source, rows, SILENT)
    assert again.computed == 2 * len(rows)
    assert all(np.array_equal(a, b) for a, b in zip(again.values, whole, strict=True))


def test_what_is_missing_is_said_before_it_is_computed(source, rows):
    said = []

    class Listener(Silent):
        def note(self, text):
            said.append(text)

    stored_values(source, rows, Listener())
    assert "80 of 80 responses to compute, about" in said[0]
