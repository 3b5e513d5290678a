"""Views: who stands against whom, what is counted, and how they are cut and joined."""

from dataclasses import replace

import pytest
import torch

from truing.core import BatchContext, Counts, Needs, State, View
from truing.core.joining import part, whole
from truing.errors import NeedsError
from truing.testing import sample_view

TENSORS = (
    *("policy", "response", "group", "pairs", "references", "scores", "mismatched", "row_ids"),
    *("win_probability", "unconditional", "prompt", "prompt_group"),
)


def small(**given) -> View:
    """Two pairs: 2 tokens against 1, 1 against 3; the numbers say pair, side and token."""
    chosen = torch.tensor([[1.11, 1.12, 0.0], [2.11, 0.0, 0.0]])
    rejected = torch.tensor([[1.21, 0.0, 0.0], [2.21, 2.22, 2.23]])
    masks = [torch.tensor([[1, 1, 0], [1, 0, 0]]), torch.tensor([[1, 0, 0], [1, 1, 1]])]
    return View.from_padded(chosen, rejected, *masks, **given)


def test_tables_become_flat_responses_in_pairs():
    view = small()
    torch.testing.assert_close(
        view.policy, torch.tensor([1.11, 1.12, 1.21, 2.11, 2.21, 2.22, 2.23])
    )
    assert view.response.tolist() == [0, 0, 1, 2, 3, 3, 3]
    assert view.group.tolist() == [0, 0, 1, 1]
    assert view.pairs.tolist() == [[0, 1], [2, 3]]
    assert view.lengths.tolist() == [2, 1, 1, 3]


def test_values_of_a_side_stand_with_its_response():
    view = small(scores=(torch.tensor([5.0, 6.0]), torch.tensor([3.0, 4.0])))
    assert view.scores.tolist() == [5, 3, 6, 4]


def test_several_references_are_rows():
    base = torch.zeros(2, 3)
    two = torch.stack([base, base + 1])
    view = small(reference_chosen=two, reference_rejected=two)
    assert view.references.shape == (2, 7)
    assert view.references[1].tolist() == [1.0] * 7


def test_groups_are_paired_by_their_scores():
    mask = torch.ones(4, 2)
    scores = torch.tensor([1.0, 3.0, 3.0, 2.0])
    view = View.from_groups(-mask, mask, torch.tensor([0, 0, 1, 1]), scores=scores)
    assert view.pairs.tolist() == [[1, 0], [2, 3]]
    three = View.from_groups(-mask, mask, torch.zeros(4, dtype=torch.int64), scores=scores)
    assert three.pairs.tolist() == [[1, 0], [1, 3], [2, 0], [2, 3], [3, 0]]


def test_sides_are_all_chosen_ones_then_all_rejected_ones():
    sides = small().sides
    assert sides.lengths.tolist() == [2, 1, 1, 3]
    assert sides.partner_lengths.tolist() == [1, 3, 2, 1]
    assert sides.token.tolist() == [0, 1, 3, 2, 4, 5, 6]
    assert sides.position.tolist() == [0, 1, 0, 0, 0, 1, 2]
    assert sides.is_last.tolist() == [False, True, True, True, False, False, True]


def test_responses_that_stand_alone_have_no_partner():
    with pytest.raises(NeedsError, match="stand alone"):
        _ = small().alone.partner_lengths


def test_counts_tell_distinct_chosen_responses_and_leave_mismatched_ones_out():
    view = sample_view(((5, 7, 2), (3, 4)))
    counts = Counts.of(view)
    assert (counts.groups, counts.responses, counts.pairs) == (2, 5, 4)
    assert (counts.chosen, counts.chosen_tokens) == (3, 5 + 7 + 3)
    assert (counts.tokens, counts.chosen_prompt_tokens) == (21, 2 * 3)


def test_labels_say_what_is_desirable_where_there_are_any():
    view = small(labels=torch.tensor([False, True, True, False]))
    assert Counts.of(view).chosen == 2
    assert view.is_desirable.tolist() == [False, True, True, False]


def test_counts_of_parts_add_up():
    view = sample_view()
    pieces = [part(view, i, i + 1) for i in range(view.num_groups)]
    total = Counts()
    for piece in pieces:
        total += Counts.of(piece)
    assert total == Counts.of(view) == pieces[3].counts


def test_parts_put_together_are_the_view():
    view = sample_view()
    joined = whole([part(view, 0, 2), part(view, 2, 3), part(view, 3, view.num_groups)])
    for name in TENSORS:
        assert torch.equal(getattr(joined, name), getattr(view, name)), name
    assert torch.equal(joined.statistics["kl_pos"], view.statistics["kl_pos"])
    assert torch.equal(joined.heads["value"], view.heads["value"])
    assert torch.equal(joined.auxiliary["sft"].policy, view.auxiliary["sft"].policy)


def test_given_positions_and_selection_are_cut_and_joined_by_pair():
    positions = torch.tensor([[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]]).bool()
    selection = torch.tensor([True, False])
    view = small(positions=positions, selection=selection)
    second = part(view, 1, 2)
    assert second.positions.tolist() == positions[[1, 3]].tolist()
    assert second.selection.tolist() == [False]
    joined = whole([part(view, 0, 1), second])
    assert torch.equal(joined.positions, positions)


def test_a_part_knows_the_counts_of_its_step_and_its_sources():
    view = sample_view()
    first, second = part(view, 0, 1), part(view, 1, 2)
    assert first.counts == second.counts == view.counts
    assert second.counts_of("gold") == Counts.of(view.auxiliary["gold"])
    assert second.source("gold").num_responses == 0


def test_a_context_decides_what_means_are_taken_over():
    context = BatchContext(counts=Counts(pairs=10), seed=3, epoch=1)
    assert replace(small(), context=context).counts.pairs == 10


def test_missing_fields_say_what_to_give():
    with pytest.raises(NeedsError, match="score_chosen"):
        small().need("scores")
    with pytest.raises(NeedsError, match="'kl_pos'"):
        small().statistic("kl_pos")
    with pytest.raises(NeedsError, match="name it in the configuration"):
        small().source("gold")


def test_state_is_replaced_not_changed():
    before = State({"a": 1.0})
    after = before.replace(b=2.0)
    assert (dict(before), dict(after)) == ({"a": 1.0}, {"a": 1.0, "b": 2.0})
    assert dict(before.taking(["b", "c"], after)) == dict(after)


def test_needs_join_to_the_stronger_and_tell_themselves():
    both = Needs(reference="sums", references=1, scores="any") | Needs(
        reference="tokens", references=2, scores="ordered", responses=frozenset({"pairs"})
    )
    assert (both.reference, both.references, both.scores) == ("tokens", 2, "ordered")
    assert both.sentences() == (
        "log-probs of 2 references for each token",
        "scores, the chosen response's strictly higher",
        "pairs",
    )
    assert Needs().sentences() == ()
