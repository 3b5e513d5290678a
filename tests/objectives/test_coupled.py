"""Two passes give the gradient of one big batch, for objectives that couple a step's examples."""

from dataclasses import replace

import pytest
import torch

from truing.core import State
from truing.core.joining import part, whole
from truing.objectives import gradients, injected
from truing.recipes import dpo, kto, parse, tdpo, tpo, wpo
from truing.recipes._recipe import SHELF
from truing.testing import EXACT, leaves_of, sample_view

EIGHT = ((5, 7), (9, 4), (3, 3), (1, 6), (4, 1), (8, 8), (2, 5), (6, 2))
COUPLED = [name for name, recipe in SHELF.items() if recipe.build().needs.couples == "batch"]
# Beside them: statistics, heads, prompts and sources must come through the two passes as well.
EXPRESSIONS = [
    *(repr(SHELF[name].build()) for name in COUPLED),
    "aot(beta=0.01, paired=False)",
    "bco(unpaired=True)",
    'mixed_po(shift="none")',
    "hpo(kto(beta=0.1), gamma=0.1, temperature=1.0, tau=0.7)",
    "0.5*dr_dpo() + 0.3*tdpo(version=1) + orpo() + 0.2*sft(source='gold')",
    "beta_dpo() + 0.3*tpo() + wpo()",
]


def step():
    return sample_view(EIGHT)


def test_every_coupled_method_is_here():
    assert {"aot", "dr_dpo", "beta_dpo", "alpha_dpo", "kto", "kto_pair", "bco"} <= set(COUPLED)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_eight_pairs_at_once_are_eight_micro_batches_of_one(text):
    objective, view = parse(text), step()
    at_once = torch.autograd.grad(objective(view).loss, leaves_of(view), materialize_grads=True)
    first = gradients(objective, view)
    second = step()
    for row in range(8):
        injected(part(second, row, row + 1), part(first.slopes, row, row + 1)).backward()
    for leaf, wanted in zip(leaves_of(second), at_once, strict=True):
        torch.testing.assert_close(
            torch.zeros_like(leaf) if leaf.grad is None else leaf.grad,
            wanted,
            rtol=EXACT,
            atol=1e-14,
        )


@pytest.mark.parametrize("name", COUPLED)
def test_a_step_put_together_from_micro_batches_is_the_step(name):
    objective, view = SHELF[name].build(), step()
    joined = whole([part(view, row, row + 1) for row in range(8)])
    torch.testing.assert_close(objective(joined).loss, objective(view).loss, rtol=EXACT, atol=0)


@pytest.mark.parametrize("name", COUPLED)
def test_the_state_moves_once_a_step_and_is_the_same_either_way(name):
    objective, view = SHELF[name].build(), replace(step(), state=State())
    at_once, passes = objective(view).state, gradients(objective, view).terms.state
    assert dict(at_once) == dict(passes)
    assert set(at_once) == objective.needs.state


def test_losses_that_couple_nothing_may_be_cut_instead():
    assert {o.needs.couples for o in (dpo(), wpo(), tdpo(), tpo())} == {"pair"}


def test_z0_comes_from_mismatched_answers_only():
    view = step()
    raised = replace(view, policy=view.policy + view.mismatched[view.response] * 5.0)
    one, other = kto()(view), kto()(raised)
    assert float(other.metrics["anchor"]) > float(one.metrics["anchor"])
    (slope,) = torch.autograd.grad(one.loss, view.policy)
    assert not slope[view.mismatched[view.response]].any()
