"""The same bits, whoever computes a value, in whatever order and company."""

import random

import numpy as np
import pytest
import torch

from truing.core.progress import SILENT
from truing.engine import LOGPS_ONLY, PaddedEngine
from truing.engine.steady import Alone, SteadyAlone, SteadyPacked, SteadyPadded, choose_steady
from truing.references import stored
from truing.references.entries import Asked, Places
from truing.references.store import Shelf
from truing.references.stored import stored_values

# Nats; sums of a hundred terms in another order, in float32.
ROUNDING = 1e-4


def same(one, two):
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_order_subsets_and_interruptions_change_no_bit(source, rows, tmp_path):
    def shelf_of(name):
        return lambda key: Shelf.of(key, tmp_path / name)

    whole = stored_values(source, rows, SILENT, shelf_of=shelf_of("a")).values
    mixed = list(range(len(rows)))
    random.Random(1).shuffle(mixed)
    for start in (0, 3, 11, 25):  # as if the pass had been interrupted three times
        some = [rows[i] for i in mixed[start : start + 14]]
        stored_values(source, some, SILENT, shelf_of=shelf_of("b"))
    pieces = stored_values(source, rows, SILENT, shelf_of=shelf_of("b"))
    assert pieces.computed < 2 * len(rows)
    assert same(pieces.values, whole)


def test_a_response_alone_gives_the_bits_of_the_whole_row(source, rows, tmp_path):
    whole = stored_values(source, rows, SILENT).values
    for row, values in list(zip(rows, whole, strict=True))[::7]:
        alone = Alone(row.prompt, (row.responses[1],))
        found = stored_values(
            source, [alone], SILENT, shelf_of=lambda key: Shelf.of(key, tmp_path / "alone")
        )
        assert np.array_equal(found.values[0], values[len(row.responses[0]) :])


@pytest.mark.parametrize(
    "way",
    [
        SteadyPacked(shares=True),
        SteadyPacked(shares=False),
        SteadyPacked(shares=True, budget=512, is_full=True),
        SteadyPadded(1024),
        SteadyAlone(),
    ],
    ids=lambda way: repr(way)[:60],
)
def test_every_way_agrees_with_the_plain_path(way, model, rows):
    few = rows[:9]
    with torch.no_grad():
        plain = PaddedEngine(10**6).logps(model, few, LOGPS_ONLY).logps.numpy()
        found: list[np.ndarray] = [np.zeros(0)] * (2 * len(few))
        for indices in way.plan(few):
            values = iter(way.logps(model, [few[i] for i in indices]))
            for index in indices:
                found[2 * index], found[2 * index + 1] = next(values), next(values)
    np.testing.assert_allclose(np.concatenate(found), plain, atol=ROUNDING)


def test_experts_are_not_steady_in_company_and_pass_alone():
    from truing.engine.architectures import ARCHITECTURES

    by_name = {one.name: one for one in ARCHITECTURES}
    moe = next(one for name, one in by_name.items() if "moe" in name or "mixtral" in name)
    choice = choose_steady("padded", moe.build())
    assert choice.name == "alone on cpu"
    draw = np.random.default_rng(0)
    row = Alone(draw.integers(3, 60, 9), (draw.integers(3, 60, 5), draw.integers(3, 60, 7)))
    with torch.no_grad():
        together = choice.engine.logps(moe.build(), [row])
        second = choice.engine.logps(moe.build(), [Alone(row.prompt, row.responses[1:])])
    assert np.array_equal(together[1], second[0])


@pytest.mark.soak
def test_threads_change_no_bit(source, rows, tmp_path):
    one = stored_values(source, rows, SILENT).values
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two = stored_values(
            source, rows, SILENT, shelf_of=lambda key: Shelf.of(key, tmp_path / "two")
        ).values
    finally:
        torch.set_num_threads(threads)
    assert same(one, two)


def test_values_that_are_left_on_the_disk_are_the_same(source, rows):
    whole = stored_values(source, rows, SILENT).values
    shelf = Shelf.of(source.key)
    shelf.refresh()
    places = Places(Asked(rows))
    assert len(places.missing) == len(places.asked)
    places.look(shelf.entries)
    assert not len(places.missing)
    mapped = places.rows(in_memory=0)
    assert not isinstance(mapped, list)
    assert len(mapped) == len(rows)
    assert same(mapped, whole)
    assert same(mapped[3:5], whole[3:5])
    assert np.array_equal(mapped[-1], whole[-1])


def test_a_pass_in_many_parts_gives_the_same_bits(source, rows, tmp_path, monkeypatch):
    whole = stored_values(source, rows, SILENT).values
    monkeypatch.setattr(stored, "_AT_ONCE", 7)
    parts = stored_values(
        source, rows, SILENT, shelf_of=lambda key: Shelf.of(key, tmp_path / "parts")
    )
    assert parts.computed == 80
    assert same(parts.values, whole)
