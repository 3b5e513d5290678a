"""Laws of the objectives, on views drawn at random."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from truing.core import Needs, View
from truing.core.joining import part, whole
from truing.objectives import LogRatio, Pairwise, Subset, parts_of
from truing.recipes import (
    dpo,
    dr_dpo,
    exo,
    f_dpo,
    infonca,
    ipo,
    ld_dpo,
    minor_dpo,
    mrpo,
    nca,
    odpo,
    parse,
    robust_dpo,
    sampo,
    sft,
    sppo,
    wpo,
)
from truing.recipes._recipe import SHELF
from truing.testing import EXACT, at_start, leaves_of, sample_view

FEW = settings(max_examples=20)
tokens = st.integers(1, 8)
pairs = st.lists(st.tuples(tokens, tokens), min_size=1, max_size=5).map(tuple)
lists = st.lists(st.tuples(tokens, tokens, tokens), min_size=1, max_size=4).map(tuple)
seeds = st.integers(0, 10_000)
views = st.builds(lambda rows, seed: sample_view(rows, seed=seed), pairs, seeds)
kwise_views = st.builds(lambda rows, seed: sample_view(rows, seed=seed), lists, seeds)
names = st.sampled_from(sorted(SHELF))


def loss_of(objective, view: View) -> float:
    return float(objective(view).loss.detach())


def same(one, other, view: View, rtol: float = EXACT) -> None:
    """Loss and gradient agree."""
    for a, b in zip(outcome_of(one, view), outcome_of(other, view), strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol)


def outcome_of(objective, view: View) -> list[torch.Tensor]:
    loss = objective(view).loss
    return [loss, *torch.autograd.grad(loss, leaves_of(view), materialize_grads=True)]


# ------------------------------------------------------------------ each is DPO somewhere


@FEW
@given(st.lists(tokens, min_size=1, max_size=5), seeds, st.booleans(), st.booleans())
def test_sampo_on_equal_lengths_is_dpo(lengths, seed, shared, keep_end):
    view = sample_view(tuple((n, n) for n in lengths), seed=seed)
    same(sampo(shared_positions=shared, keep_end=keep_end), dpo(), view)
    same(sampo(tokens="largest"), dpo(), view)
    same(sampo(tokens="average"), dpo(), view)


@FEW
@given(views)
def test_sampo_at_the_start_has_no_margin(view):
    terms = sampo()(at_start(view))
    assert float(terms.loss.detach()) == pytest.approx(math.log(2))
    assert float(terms.metrics["rewards/margins"]) == 0


@FEW
@given(views)
def test_sampo_draws_as_many_tokens_of_the_longer_side_as_the_shorter_has(view):
    drawn = Subset()(view.sides)
    kept = torch.zeros(view.sides.count, dtype=drawn.dtype).index_add(0, view.sides.side, drawn)
    assert kept.tolist() == view.lengths[view.pairs].min(1).values.repeat(2).tolist()
    assert (Subset(keep_end=True)(view.sides)[view.sides.is_last] == 1).all()


@FEW
@given(views, st.sampled_from(["adaptive", 0.3]), st.sampled_from(["adaptive", "fixed", "none"]))
def test_mrpo_of_equal_references_is_dpo(view, alpha, clip):
    equal = replace(view, references=view.references[:1].expand(2, -1))
    # The adaptive weights add 1e-6 to a sum of gaps, so that far from 0 they are exact.
    same(mrpo(alpha=alpha, clip=clip), dpo(), equal, rtol=1e-9)


@FEW
@given(views)
def test_dr_dpo_at_a_high_temperature_is_dpo(view):
    same(dr_dpo(beta_prime=1e7), dpo(), view, rtol=1e-6)


@FEW
@given(views)
def test_an_alpha_divergence_near_zero_is_reverse_kl(view):
    same(f_dpo(divergence="alpha", alpha=1e-9), dpo(), view, rtol=1e-5)


@FEW
@given(views)
def test_f_dpo_under_forward_kl_begins_as_dpo(view):
    same(f_dpo(divergence="forward_kl"), dpo(), at_start(view))


@FEW
@given(views)
def test_wpo_on_certain_responses_is_dpo(view):
    certain = {**view.statistics, "log_sum_sq": view.policy.detach().requires_grad_()}
    same(wpo(beta=0.1), dpo(beta=0.1), replace(view, statistics=certain))


@FEW
@given(views)
def test_minor_dpo_is_dpo_while_the_rejected_response_is_above_the_reference(view):
    low = replace(view, references=view.references - 10.0)
    same(minor_dpo(), dpo(), low)


@FEW
@given(views)
def test_ld_dpo_with_discounted_tails_looks_at_the_shorter_length_only(view):
    chosen, rejected = view.sides.halves(view.sides.lengths)
    assume(bool((chosen != rejected).any()))
    (slope,) = torch.autograd.grad(ld_dpo(alpha=0.0)(view).loss, view.policy)
    sides = view.sides
    shorter = torch.minimum(sides.lengths, sides.partner_lengths)
    tail = sides.token[sides.position >= shorter[sides.side]]
    assert not slope[tail].any()


@FEW
@given(views)
def test_hard_sppo_is_sppo_with_certain_win_rates(view):
    wins = torch.zeros_like(view.win_probability).index_fill(0, view.pairs[:, 0], 1.0)
    certain = replace(view, win_probability=wins)
    same(sppo(hard=True, halved=False), 2.0 * sppo(), certain)


# ------------------------------------------------------------------ lists and pairs


@FEW
@given(views, st.floats(0.2, 3.0))
def test_scored_infonca_on_two_responses_is_cross_entropy_of_the_pair(view, alpha):
    scores = view.scores[view.pairs] / alpha
    certain = torch.sigmoid(scores[:, 0] - scores[:, 1])
    z = torch.logit(torch.exp(-dpo(beta=0.2)(view).per_pair))
    expected = -certain * torch.nn.functional.logsigmoid(z)
    expected = expected - (1 - certain) * torch.nn.functional.logsigmoid(-z)
    loss = loss_of(infonca(beta=0.2, alpha=alpha), view)
    assert loss == pytest.approx(float(expected.mean()), rel=1e-7)


@FEW
@given(views)
def test_infonca_and_nca_on_two_responses_become_their_pair_forms(view):
    for kind in (infonca, nca):
        same(kind(beta=0.2, alpha=1e-3), kind(beta=0.2), view, rtol=1e-8)


@FEW
@given(seeds, st.floats(0.3, 2.0))
def test_exo_with_scores_on_two_responses_is_its_pair_form_at_that_epsilon(seed, temperature):
    view = sample_view(((4, 3),), seed=seed)
    gap = float(view.scores[view.pairs[0, 0]] - view.scores[view.pairs[0, 1]])
    epsilon = 1 / (1 + math.exp(gap / temperature))
    scored = exo(beta=0.3, beta_reward=temperature)
    same(scored, exo(beta=0.3, epsilon=epsilon), view, rtol=1e-9)


@FEW
@given(kwise_views)
def test_a_k_wise_row_is_the_mean_over_its_ordered_pairs(view):
    alone = [replace(view, pairs=view.pairs[i : i + 1]) for i in range(view.num_pairs)]
    expected = sum(loss_of(dpo(), one) for one in alone) / view.num_pairs
    assert loss_of(dpo(), view) == pytest.approx(expected)


def test_a_response_in_two_pairs_keeps_the_length_of_each():
    """The shared response has 7 tokens and stands against 4 and against 9."""
    view = sample_view(((7, 4, 9),))
    view = replace(view, pairs=torch.tensor([[0, 1], [0, 2]]))
    drawn, sides = Subset()(view.sides), view.sides
    kept = torch.zeros(4, dtype=drawn.dtype).index_add(0, sides.side, drawn)
    assert kept.tolist() == [4, 7, 4, 7]


# ------------------------------------------------------------------ laws of the algebra


@FEW
@given(names, names, st.floats(-2, 2), st.floats(-2, 2), seeds)
def test_sums_and_factors_are_those_of_the_losses(one, other, a, b, seed):
    first, second = SHELF[one].build(), SHELF[other].build()
    assume(not first.needs.state & second.needs.state)
    view = sample_view(((3, 5), (4, 2)), seed=seed)
    expected = a * loss_of(first, view) + b * loss_of(second, view)
    total = a * first + b * second
    assert loss_of(total, view) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert total.needs == first.needs | second.needs


@FEW
@given(names, views, st.randoms(use_true_random=False))
def test_no_loss_depends_on_the_order_or_the_packing_of_rows(name, view, random):
    rows = [part(view, i, i + 1) for i in range(view.num_groups)]
    random.shuffle(rows)
    objective = SHELF[name].build()
    assert loss_of(objective, whole(rows)) == pytest.approx(loss_of(objective, view), rel=1e-9)


@FEW
@given(pairs, seeds, st.integers(1, 4))
def test_padding_changes_no_loss(lengths, seed, columns):
    view = sample_view(lengths, seed=seed)
    widest = int(view.lengths.max())

    def table(values, width):
        rows = [values[view.response == i] for i in range(view.num_responses)]
        return torch.stack(
            [torch.nn.functional.pad(r, (0, width - len(r)), value=9.0) for r in rows]
        )

    def padded(width):
        mask = torch.arange(width)[None] < view.lengths[:, None]
        references = table(view.references[0], width)
        given = {"references": references, "pairs": view.pairs, "row_ids": view.row_ids}
        return View.from_groups(table(view.policy, width), mask, view.group, **given)

    for objective in (dpo(), sampo(), ipo(), sft()):
        narrow, wide = (loss_of(objective, padded(widest + extra)) for extra in (0, columns))
        assert narrow == wide


@FEW
@given(views, st.floats(0.01, 2.0))
def test_beta_is_the_unit_of_rewards(view, beta):
    one, other = dpo(beta=beta)(view), dpo(beta=2 * beta)(view)
    torch.testing.assert_close(2 * one.rewards, other.rewards)


NOT_THE_GRADIENT = {
    "focalpo": "its weight is detached",
    "wpo": "its weight is detached",
    "beta_dpo": "its beta is detached",
    "alpha_dpo": "its offset is detached",
    "kto": "its anchor is detached; see test_coupled",
    "bco": "its shift is detached",
    "mixed_po": "its shift is detached",
    "rebel": "a loss of 1e12 has no digits left for a numeric derivative",
    "sppo": "a loss of 1e5 has few digits left for a numeric derivative",
    "cal_dpo": "a loss of 5e5 has few digits left for a numeric derivative",
}


@pytest.mark.parametrize("name", sorted(set(SHELF) - set(NOT_THE_GRADIENT)))
def test_gradients_are_those_of_the_loss(name):
    view, objective = sample_view(((2, 3), (3, 1))), SHELF[name].build()

    def loss(policy):
        return objective(replace(view, policy=policy)).loss

    assert torch.autograd.gradcheck(loss, (view.policy,))


# ------------------------------------------------------------------ randomness


def test_a_draw_depends_on_seed_epoch_and_row_and_on_nothing_else():
    view = sample_view(((9, 4), (3, 8)))
    cut = part(view, 1, 2)
    context = cut.context

    def draw(view, **changes):
        changed = replace(view, context=replace(context, **changes))
        sides = changed.sides
        return [Subset()(sides)[sides.side == side].tolist() for side in range(sides.count)]

    assert draw(cut) == draw(view)[1::2]
    assert draw(view, seed=1) != draw(view) != draw(view, epoch=1)
    assert draw(view, epoch=-1) == draw(view, epoch=-1)


def test_policy_and_reference_draw_apart_as_the_released_code_does():
    view = sample_view(((40, 10),))
    shared, apart = sampo(), sampo(shared_positions=False)
    assert loss_of(shared, at_start(view)) == pytest.approx(math.log(2))
    assert loss_of(apart, at_start(view)) != pytest.approx(math.log(2))


# ------------------------------------------------------------------ needs and metrics


def test_needs_are_the_union_of_the_parts():
    needs = parse("odpo() + 0.2*sft(source='gold') + wpo()").needs
    assert needs == Needs(
        reference="sums",
        references=1,
        scores="ordered",
        auxiliary=frozenset({"gold"}),
        vocabulary_statistics=frozenset({"log_sum_sq"}),
        responses=frozenset({"pairs", "kwise"}),
    )
    assert parse("simpo()").needs.reference == "none"
    assert sampo().needs.reference == "tokens"
    assert mrpo(alpha=[0.2, 0.3]).needs.references == 3


def test_metrics_add_up_over_micro_batches():
    view, objective = sample_view(), sampo() + 0.2 * sft() + robust_dpo()
    cut = [objective(part(view, i, i + 1)).metrics for i in range(view.num_groups)]
    for name, value in objective(view).metrics.items():
        torch.testing.assert_close(sum(m[name] for m in cut), value, rtol=1e-9, atol=1e-12)


def test_colliding_metrics_keep_the_first_terms_names():
    metrics = (dpo() + 0.5 * odpo())(sample_view()).metrics
    assert {"rewards/margins", "odpo/rewards/margins", "loss/dpo", "loss/odpo"} <= set(metrics)
    torch.testing.assert_close(
        metrics["rewards/margins"], dpo()(sample_view()).metrics["rewards/margins"]
    )


@pytest.mark.parametrize("name", sorted(SHELF))
def test_rewards_without_the_loss_are_those_beside_it(name):
    view, objective = sample_view(), SHELF[name].build()
    beside, alone = objective(view).rewards, objective.rewards(view)
    assert (beside is None) == (alone is None)
    if beside is not None:
        torch.testing.assert_close(alone, beside, rtol=0, atol=0)


def test_trl_names_and_drift_are_reported():
    metrics = dpo()(sample_view()).metrics
    for side in ("chosen", "rejected"):
        assert {
            f"rewards/{side}",
            f"logps/{side}",
            f"logps_drift/{side}",
            f"lengths/{side}",
        } <= set(metrics)
    drift = metrics["logps_drift/chosen"]
    torch.testing.assert_close(0.1 * drift, metrics["rewards/chosen"])


def test_parts_of_an_objective_can_be_walked():
    assert LogRatio() in parts_of(dpo())
    assert dpo() == Pairwise(beta=0.1)
    assert hash(dpo()) == hash(Pairwise(beta=0.1))
