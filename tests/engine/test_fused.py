"""The fused head gives what all logits, one log-softmax and autograd give."""

import pytest
import torch

from truing.engine.fused import Head, HeadJob, _Run, head_logps, module_logps
from truing.engine.statistics import STATISTICS

N, D, V = 23, 5, 37
EXACT = 1e-12
HEADS = {
    "plain": {},
    "bias": {"bias": True},
    "scale": {"scale": 0.3},
    "cap": {"softcap": 2.0},
    "all": {"bias": True, "scale": 1.7, "softcap": 3.0},
}


def material(dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)

    def some(*shape):
        return torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype)

    targets = torch.randint(0, V, (N,), generator=draw)
    return some(N, D), some(V, D), some(V), targets, (some(N, D + 1), Head(some(V, D + 1)))


def longhand(hidden, head, targets, job):
    """Everything at once, through autograd."""
    raw = hidden @ head.weight.T + (0 if head.bias is None else head.bias)
    logits = raw * head.scale
    if head.softcap is not None:
        logits = head.softcap * torch.tanh(logits / head.softcap)
    log_probs = logits.log_softmax(-1)
    found = [log_probs[torch.arange(len(targets)), targets]]
    p = log_probs.exp()
    for name in job.statistics:
        if name == "log_sum_sq":
            found.append((p**2).sum(-1).log())
        if name == "entropy":
            found.append(-(p * log_probs).sum(-1))
        if name == "kl_pos":
            states, reference = job.reference
            r = (states @ reference.weight.T).log_softmax(-1)
            found.append((r.exp() * (r - log_probs)).sum(-1))
    return tuple(found)


def results(compute, shape, *, learns=(True, True), job=None, weights=None, dtype=torch.float64):
    """Values, then the gradients of hidden states, weight and bias under these weights."""
    hidden, weight, bias, targets, reference = material(dtype)
    hidden.requires_grad_(learns[0])
    weight.requires_grad_(learns[1])
    has_bias = shape.get("bias", False)
    bias = bias.requires_grad_(learns[1]) if has_bias else None
    head = Head(weight, bias, shape.get("scale", 1.0), shape.get("softcap"))
    job = HeadJob(**{"reference": reference, **(job or {})})
    found = compute(hidden, head, targets, job)
    weights = weights or [1.0] * len(found)
    rising = torch.linspace(-1, 2, N, dtype=torch.float64)
    total = sum(
        (w * rising * one.double()).sum() for w, one in zip(weights, found, strict=True) if w
    )
    total.backward()
    parts = (hidden, weight, bias)
    found = tuple(one.detach() for one in found)
    return found, [None if one is None else one.grad for one in parts]


def assert_same(one, other, atol=EXACT):
    for found, expected in zip(one[0] + tuple(one[1]), other[0] + tuple(other[1]), strict=True):
        if expected is None:
            assert found is None
        else:
            torch.testing.assert_close(found, expected, atol=atol, rtol=0, check_dtype=False)


# Kept whole, kept in three tiles, computed again tile by tile.
WAYS = {
    "kept": {},
    "kept in tiles": {"tile_elements": 16 * V},
    "again": {"tile_elements": 16 * V, "keep_bytes": 0},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", HEADS)
@pytest.mark.parametrize("learns", [(True, True), (True, False), (False, True)])
def test_log_probs_and_gradients_are_those_of_all_logits(shape, way, learns):
    found = results(head_logps, HEADS[shape], learns=learns, job=WAYS[way])
    assert_same(found, results(longhand, HEADS[shape], learns=learns))


@pytest.mark.parametrize("shape", HEADS)
@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (0, 0, 1, 0), (1, 0, 0, 0)])
@pytest.mark.parametrize("learns", [(True, True), (True, False)])
def test_statistics_carry_gradient_where_they_are_used(shape, weights, learns):
    job = {"statistics": tuple(sorted(STATISTICS)), "tile_elements": 16 * V}
    found = results(head_logps, HEADS[shape], learns=learns, job=job, weights=weights)
    expected = results(longhand, HEADS[shape], learns=learns, job=job, weights=weights)
    assert_same(found, expected)


def test_a_head_that_is_called_as_a_module_gives_the_same():
    job = {"statistics": tuple(sorted(STATISTICS))}

    def called(hidden, head, targets, job):
        return module_logps(hidden @ head.weight.T + head.bias, head, targets, job)

    assert_same(results(called, HEADS["all"], job=job), results(longhand, HEADS["all"], job=job))


def test_the_slope_of_every_statistic_is_its_derivative():
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(4, V, generator=draw, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(4, V, generator=draw, dtype=torch.float64).log_softmax(-1)
    for statistic in STATISTICS.values():
        value = statistic.value(logits.log_softmax(-1), reference)
        (expected,) = torch.autograd.grad(value.sum(), logits)
        with torch.no_grad():
            found = statistic.slope(logits.log_softmax(-1), value, reference)
        torch.testing.assert_close(found, expected, atol=EXACT, rtol=0)


def test_nothing_is_kept_without_gradient(monkeypatch):
    hidden, weight, _, targets, _ = material()
    modes = []
    plain = _Run.forward
    monkeypatch.setattr(
        _Run, "forward", lambda run, mode: [modes.append(mode), plain(run, mode)][1]
    )
    weight.requires_grad_()
    head_logps(hidden, Head(weight), targets, HeadJob())
    with torch.no_grad():
        (found,) = head_logps(hidden, Head(weight), targets, HeadJob())
    assert modes == ["tiles", "nothing"]
    assert found.grad_fn is None


def test_float32_stays_within_its_rounding():
    found = results(head_logps, HEADS["all"], dtype=torch.float32)
    expected = results(longhand, HEADS["all"])
    for one, other in zip(
        found[0] + tuple(found[1]), expected[0] + tuple(expected[1]), strict=True
    ):
        assert one.dtype == torch.float32
        assert float((one - other).abs().max() / other.abs().max()) < 1e-5


@pytest.mark.parametrize("way", WAYS)
def test_half_precision_gives_float32_log_probs_near_the_exact_ones(way):
    found = results(head_logps, HEADS["plain"], dtype=torch.bfloat16, job=WAYS[way])
    expected = results(longhand, HEADS["plain"])
    assert found[0][0].dtype == torch.float32
    for one, other in zip(
        found[0] + tuple(found[1][:2]), expected[0] + tuple(expected[1][:2]), strict=True
    ):
        # bfloat16 keeps 8 bits; these sums are of few terms.
        assert float((one - other).abs().max() / other.abs().max()) < 0.05


def test_under_autocast_the_weight_stays_float32_and_so_does_its_gradient():
    hidden, weight, _, targets, _ = material(torch.float32)
    weight.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = head_logps(hidden, Head(weight), targets, HeadJob())
    found.sum().backward()
    assert found.dtype == weight.grad.dtype == torch.float32
    exact = results(longhand, HEADS["plain"])[0][0]
    assert 1e-6 < float((found.detach() - exact).abs().max()) < 0.1


def test_a_log_prob_far_below_the_smallest_float_stays_finite():
    hidden = torch.tensor([[1.0]])
    weight = torch.tensor([[0.0], [500.0]])
    (found,) = head_logps(hidden, Head(weight), torch.tensor([0]), HeadJob())
    assert float(found) == -500.0


def test_a_logit_that_is_not_a_number_is_not_hidden():
    hidden, weight, _, targets, _ = material()
    hidden[3] = torch.nan
    (found,) = head_logps(hidden, Head(weight), targets, HeadJob())
    assert torch.isnan(found).nonzero()[:, 0].tolist() == [3]
