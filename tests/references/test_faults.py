"""Nothing that happens to the store makes a wrong value, or loses more than one shard."""

import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from truing.core.progress import SILENT, Silent
from truing.data.cache import recalled, remember
from truing.engine.steady import Alone, SteadyPacked
from truing.errors import StoreError
from truing.references import store as store_module
from truing.references import stored
from truing.references.entries import Asked, Places
from truing.references.keys import ModelKey
from truing.references.store import Shelf, shelves
from truing.references.stored import Source, stored_values
from truing.references.weights import weights_hash

# Computes a reference, a shard after each response, and hangs after so many passes.
SLOW = """
import sys, time
import torch
torch.set_num_threads(1)
from truing.core.progress import SILENT
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
        if len(passes) == 5:
            time.sleep(600)
        return super().logps(model, rows)

stored.SHARD_TOKENS = 1
start = sys.argv[1]
key = ModelKey(weights_hash(start), "float32", attention="slow")
source = stored.Source(load_model(start, torch.float32), Steady(True, 128), start, key, lambda: key)
draw = np.random.default_rng(3)
rows = [Alone(draw.integers(3, 90, 40), (draw.integers(3, 90, 60),)) for _ in range(24)]
stored.stored_values(source, rows, SILENT)
"""


class Listener(Silent):
    """Keeps what it is told; of tasks how much is done."""

    def __init__(self):
        self.notes: list[str] = []
        self.done: dict[str, int] = {}
        self.totals: dict[str, int | None] = {}

    def note(self, text):
        self.notes.append(text)

    def task(self, *, total, description):
        self.totals[description], self.done[description] = total, 0
        return nullcontext(Advanced(self, description))


class Advanced:
    def __init__(self, listener, description):
        self.listener, self.description = listener, description

    def advance(self, done=1, *, note=""):
        self.listener.done[self.description] += done


def until(is_so, process=None):
    for _ in range(12_000):
        if is_so():
            return
        assert process is None or process.poll() is None
        time.sleep(0.01)
    raise AssertionError("waited for two minutes")


def shards(store):
    return len(list(store.glob("*/*.arrow")))


def test_killed_in_the_middle_it_goes_on_and_two_share_the_work(start, store, model):
    key = ModelKey(weights_hash(start), "float32", attention="slow")
    source = Source(model, SteadyPacked(shares=True, budget=128), start, key, lambda: key)
    draw = np.random.default_rng(3)
    rows = [Alone(draw.integers(3, 90, 40), (draw.integers(3, 90, 60),)) for _ in range(24)]
    whole = stored_values(source, rows, SILENT, shelf_of=lambda key: Shelf.of(key, store / "whole"))
    said = Listener()
    first = subprocess.Popen([sys.executable, "-c", SLOW, start])
    try:
        until(lambda: shards(store) == 4, first)
        # A second one comes, and waits; the first is killed: the second takes what is there.
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(stored_values, source, rows, said)
            until(lambda: any("waiting" in note for note in said.notes), first)
            first.send_signal(signal.SIGKILL)
            found = second.result(timeout=120)
    finally:
        first.kill()
        first.communicate()
    assert (found.computed, found.hits) == (20, 4)
    assert said.totals["reference, computed by another process"] == 20
    assert all(np.array_equal(a, b) for a, b in zip(found.values, whole.values, strict=True))
    assert not list(store.glob("*/*.part"))


def test_who_waits_sees_how_far_the_other_one_has_come(source, rows, monkeypatch):
    monkeypatch.setattr(store_module, "_LOOK_S", 0.05)
    few = rows[:3]
    places = Places(Asked(few))
    keys = list(places.asked.number)
    values = [np.zeros(n, dtype=np.float32) for n in places.asked.lengths]
    one, other, said = Shelf.of(source.key), Shelf.of(source.key), Listener()
    words = "stronger, computed by another process"

    def waits():
        with other.held(said, places, "stronger"):
            return said.done[words]

    with ThreadPoolExecutor(1) as pool:
        with one.held(SILENT):
            waiting = pool.submit(waits)
            until(lambda: said.notes)
            for count in (2, 6):
                one.put(keys[:count], values[:count])
                until(lambda count=count: said.done.get(words) == count)
        assert waiting.result(timeout=60) == 6
    assert said.totals[words] == 6


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


def changed_in_place(path, weights):
    """Other bytes in the same file: size, inode and time of change stay as they were."""
    old = path.stat()
    save_file(weights, path.with_suffix(".new"), metadata={"format": "pt"})
    fresh = path.with_suffix(".new").read_bytes()
    path.with_suffix(".new").unlink()
    assert len(fresh) == old.st_size
    with path.open("r+b") as file:
        file.write(fresh)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))


def test_weights_changed_in_place_behind_the_same_size_and_time_have_another_hash(copied):
    before = weights_hash(str(copied))
    path = copied / "model.safetensors"
    weights = load_file(path)
    name = sorted(weights)[0]
    changed_in_place(path, weights | {name: weights[name] + 1e-3})
    assert weights_hash(str(copied)) != before


def test_weights_that_the_memory_of_hashes_does_not_know_are_noticed_by_what_they_say(
    source, rows, copied, model
):
    path = copied / "model.safetensors"

    def key(*, trusts_memory=True):
        digest = weights_hash(str(copied), trusts_memory=trusts_memory)
        return replace(source.key, weights=digest)

    own = replace(source, path=str(copied), key=key(), reread=lambda: key(trusts_memory=False))
    stored_values(own, rows, SILENT)
    changed = load_file(path)
    name = next(n for n in sorted(changed) if "mlp" in n)
    changed[name] = changed[name] + 0.05
    before = recalled("hashes", str(path.resolve()))
    changed_in_place(path, changed)
    facts = path.stat()
    times = [facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
    seen = [str(path.resolve()), facts.st_size, *times]
    remember("hashes", str(path.resolve()), before | {"seen": seen})
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
    # The values lie under the key of the weights that said them, and the label says so.
    labels = {shelf.folder.name: shelf.facts["weights"] for shelf in shelves()}
    assert labels == {one.name: one.weights for one in (own.key, key(trusts_memory=False))}
    assert not any(shelf.is_mislabelled for shelf in shelves())


def test_values_that_are_not_the_models_are_thrown_away(source, rows):
    whole = stored_values(source, rows, SILENT).values
    shelf = Shelf.of(source.key)
    shelf.refresh()
    wrong = {key: values - 1 for key, values in shelf.values().items()}
    shelf.forget()
    shelf.put(list(wrong), list(wrong.values()))
    again = stored_values(source, rows, SILENT)
    assert again.computed == 2 * len(rows)
    assert all(np.array_equal(a, b) for a, b in zip(again.values, whole, strict=True))


def test_what_is_missing_is_said_before_it_is_computed(source, rows):
    said = Listener()
    stored_values(source, rows, said)
    assert "80 of 80 responses to compute, about" in said.notes[0]
