"""The same bits for the same words, everywhere and for ever."""

import torch

from truing.core.hashing import hashed, uniform

MASK = (1 << 64) - 1


def by_hand(*words: int) -> int:
    """The same hash in plain Python integers; signed at the end."""
    step, bits = 0x9E3779B97F4A7C15, 0x9E3779B97F4A7C15
    for word in words:
        bits = ((bits + step) & MASK) ^ (word & MASK)
        bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK
        bits ^= bits >> 31
    return bits - (1 << 64) if bits >> 63 else bits


def test_the_bits_are_those_of_plain_integers():
    words = (0, 1, -1, 2**63 - 1, -(2**63), 12345)
    for a in words:
        for b in words:
            assert int(hashed(a, torch.tensor([b]))[0]) == by_hand(a, b)


def test_words_broadcast_and_their_order_matters():
    rows, columns = torch.arange(3)[:, None], torch.arange(4)[None, :]
    table = hashed(7, rows, columns)
    assert table.shape == (3, 4)
    assert int(table[1, 2]) == by_hand(7, 1, 2) != by_hand(7, 2, 1)


def test_uniform_lies_strictly_inside_zero_and_one():
    ends = uniform(torch.tensor([0, -1]))
    assert 0 < float(ends[0]) < float(ends[1]) < 1
    drawn = uniform(hashed(3, torch.arange(20_000)))
    assert abs(float(drawn.mean()) - 0.5) < 0.01
    assert abs(float(drawn.std()) - 12**-0.5) < 0.01
