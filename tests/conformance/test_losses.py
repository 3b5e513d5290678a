"""The same model, rows, order and settings: TRL and Truing compute the same numbers.

Ids, mask, reference, first loss, gradient, and the losses of ten optimizer steps.
"""

import numpy as np
import pytest
import torch

from .cases import LONG, QUICK
from .pairs import Pairs

# Sums of up to 150 float32 log-probs, added in another order.
REFERENCE, FIRST = 1e-5, 2e-5
# Relative to the largest entry of a parameter's gradient.
GRADIENT = 2e-4
# Adam divides by the root of its own square, so rounding grows from step to step.
LOSSES = 2e-3

each = pytest.mark.parametrize("case", QUICK, ids=str)


def compare(theirs, ours):
    """All of it, in the order in which a difference would arise."""
    assert ours.ids == theirs.ids
    if theirs.reference and ours.reference:
        np.testing.assert_allclose(ours.reference, theirs.reference, rtol=REFERENCE)
    assert ours.losses[0] == pytest.approx(theirs.losses[0], rel=FIRST, abs=1e-6)
    assert_same_gradient(theirs, ours)
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=LOSSES, atol=1e-4)


def assert_same_gradient(theirs, ours):
    assert ours.gradient.keys() == theirs.gradient.keys()
    largest = max(float(value.abs().max()) for value in theirs.gradient.values())
    assert largest > 0
    for name, value in theirs.gradient.items():
        torch.testing.assert_close(
            ours.gradient[name], value, rtol=1e-3, atol=GRADIENT * largest, msg=lambda m: m
        )


@each
def test_token_ids_and_mask_are_the_same(case, pair_of):
    theirs, ours = pair_of(case)
    assert ours.ids == theirs.ids


@each
def test_the_reference_says_the_same(case, pair_of):
    theirs, ours = pair_of(case)
    if ours.reference:
        np.testing.assert_allclose(ours.reference, theirs.reference, rtol=REFERENCE)
    else:
        assert case.objective.needs.reference == "none"
        assert case.method not in {"dpo", "kto"} or case.name == "sft"


@each
def test_the_first_loss_is_the_same(case, pair_of):
    theirs, ours = pair_of(case)
    assert ours.losses[0] == pytest.approx(theirs.losses[0], rel=FIRST, abs=1e-6)


@each
def test_the_first_gradient_is_the_same(case, pair_of):
    assert_same_gradient(*pair_of(case))


@each
def test_the_losses_of_ten_steps_are_the_same(case, pair_of):
    theirs, ours = pair_of(case)
    assert len(ours.losses) == 10
    assert len(set(ours.losses)) > 5, "the rows and weights differ from step to step"
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=LOSSES, atol=1e-4)


def test_a_random_model_of_our_own_is_trained_alike(tiny):
    compare(*Pairs(tiny)(QUICK[0]))


@pytest.mark.soak
@pytest.mark.parametrize("case", LONG, ids=str)
def test_every_loss_is_the_same_in_every_form(case, pair_of):
    compare(*pair_of(case))
