"""Every recipe of the catalogue: the same loss and parameter gradient on every engine."""

import functools
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from truing.engine import LOGPS_ONLY, PackedEngine, PaddedEngine, SharedEngine, Wanted
from truing.recipes import parse, shelf
from truing.testing import LENGTHS, sample_view

from .rows import random_rows, small_llama
from .test_shared import norm_in_full

EXACT = 1e-10
PADDED = "padded"
ENGINES = {
    PADDED: PaddedEngine(100_000),
    "shared": SharedEngine(100_000, block=2),
    "packed": PackedEngine(100_000),
}
# As many tokens as `sample_view` has: prompts of three tokens that begin alike, the responses of
# each row, and one more of three tokens that answers another prompt.
ROWS = random_rows(11, [(3, (*row, 3)) for row in LENGTHS], first=2)
AUXILIARY_ROWS = random_rows(12, [(5, (4,)), (2, (3,))])
EVERYTHING = Wanted(
    prompt=True,
    statistics=frozenset({"log_sum_sq", "kl_pos"}),
    live_reference=lambda: nullcontext(in_float64(small_llama(hidden_size=24))),
)


def in_float64(model):
    for module in model.modules():
        if hasattr(module, "variance_epsilon"):
            module.forward = functools.partial(norm_in_full, module)
    return model.double()


@functools.cache
def model():
    return in_float64(small_llama())


@functools.cache
def view_by(engine):
    """The view of the rows with everything that the policy gives computed by this engine."""
    found = ENGINES[engine].logps(model(), ROWS, EVERYTHING)
    auxiliary = ENGINES[engine].logps(model(), AUXILIARY_ROWS, LOGPS_ONLY)
    view = sample_view()
    assert torch.equal(view.response, found.response)
    return replace(
        view,
        policy=found.logps,
        prompt=found.prompt,
        prompt_group=found.prompt_group,
        # Near the policy, so that no clamp and no exponential is out of its range.
        references=view_of_references(),
        statistics=found.statistics,
        auxiliary={
            name: replace(source, policy=auxiliary.logps) for name, source in view.auxiliary.items()
        },
    )


@functools.cache
def view_of_references():
    start = ENGINES[PADDED].logps(model(), ROWS, LOGPS_ONLY).logps.detach()
    draw = torch.Generator().manual_seed(5)
    noise = torch.randn(2, len(start), generator=draw, dtype=start.dtype)
    return (start + 0.3 * noise).clamp(max=-0.01)


def loss_and_gradient(recipe, engine):
    loss = parse(recipe)(view_by(engine)).loss
    gradients = torch.autograd.grad(
        loss, list(model().parameters()), retain_graph=True, allow_unused=True
    )
    flat = [torch.zeros(1) if one is None else one.flatten() for one in gradients]
    return loss.detach(), torch.cat(flat)


@pytest.mark.parametrize("engine", ["shared", "packed"])
@pytest.mark.parametrize("recipe", [entry.example for entry in shelf()])
def test_loss_and_gradient_are_the_padded_ones(recipe, engine):
    expected, slope = loss_and_gradient(recipe, PADDED)
    found, found_slope = loss_and_gradient(recipe, engine)
    torch.testing.assert_close(found, expected, atol=EXACT, rtol=EXACT)
    scale = float(slope.abs().max())
    assert scale > 0
    assert float((found_slope - slope).abs().max()) < EXACT * max(scale, 1.0)
