"""Sums, ranks and soft-maxima within ragged runs."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from truing.core import segments

runs = st.lists(st.lists(st.integers(-5, 5), max_size=6), min_size=1, max_size=5)


def flat(rows):
    values = torch.tensor([float(v) for row in rows for v in row], dtype=torch.float64)
    owner = torch.tensor([i for i, row in enumerate(rows) for _ in row], dtype=torch.int64)
    return values, owner, len(rows)


@given(runs)
def test_sums_and_means_are_those_of_each_run(rows):
    assert segments.sums(*flat(rows)).tolist() == [float(sum(row)) for row in rows]
    means = [sum(row) / max(len(row), 1) for row in rows]
    torch.testing.assert_close(segments.means(*flat(rows)).tolist(), means)


@given(runs)
def test_positions_count_from_zero_in_each_run(rows):
    _, owner, count = flat(rows)
    expected = [i for row in rows for i in range(len(row))]
    assert segments.positions(owner, count).tolist() == expected


@given(runs)
def test_ranks_are_those_of_a_stable_sort(rows):
    expected = []
    for row in rows:
        order = sorted(range(len(row)), key=lambda i, row=row: row[i])
        expected += [order.index(i) for i in range(len(row))]
    assert segments.ranks(*flat(rows)).tolist() == expected


@given(runs)
def test_log_softmax_is_torchs_in_each_run(rows):
    expected = [x for row in rows for x in torch.tensor(row).double().log_softmax(0).tolist()]
    torch.testing.assert_close(segments.log_softmax(*flat(rows)).tolist(), expected)


def test_log_softmax_survives_huge_values():
    values = torch.tensor([1e4, -1e4, 3.0], dtype=torch.float32)
    shares = segments.log_softmax(values, torch.tensor([0, 0, 1]), 2)
    assert shares.tolist() == [0.0, -2e4, 0.0]


def test_spread_lays_runs_end_to_end_and_may_repeat_one():
    index, run = segments.spread(torch.tensor([2, 0, 2]), torch.tensor([2, 1, 2]))
    assert index.tolist() == [2, 3, 0, 2, 3]
    assert run.tolist() == [0, 0, 1, 2, 2]


def test_sums_of_several_rows_at_once_carry_gradient():
    values = torch.ones(2, 3, requires_grad=True)
    out = segments.sums(values, torch.tensor([0, 1, 1]), 2)
    out[1, 1].backward()
    assert out.tolist() == [[1, 2], [1, 2]]
    assert values.grad.tolist() == [[0, 0, 0], [0, 1, 1]]
