"""What `explain` and the shelf say of an objective."""

import math

import pytest

from truing.objectives import explain, slopes
from truing.recipes import dpo, minor_dpo, parse, shelf
from truing.recipes._recipe import SHELF

GAPS = (-20.0, 0.0, 20.0)


def test_the_slope_of_dpo_is_beta_times_one_minus_the_probability():
    for row in slopes(dpo(beta=0.3), GAPS):
        expected = 0.3 / (1 + math.exp(0.3 * row.gap))
        assert row.chosen == pytest.approx(-expected)
        assert row.rejected == pytest.approx(expected)


def test_minor_dpo_leaves_a_rejected_response_below_the_reference_alone():
    above, start, below = slopes(minor_dpo(), GAPS)
    assert above.rejected > 0
    assert start.rejected == pytest.approx(0.05)
    assert below.rejected == 0
    assert below.chosen < 0


def test_a_mean_has_the_effective_beta_of_its_length():
    (term,) = explain(parse("averaged(dpo(beta=5.0))")).terms
    assert dict(term.effective_beta)[50] == pytest.approx(0.1)
    assert not explain(dpo()).terms[0].effective_beta


def test_a_sum_is_explained_term_by_term():
    told = explain(parse("sampo(beta=0.1) + 0.2*sft()"))
    assert [(term.expression, term.factor) for term in told.terms] == [
        ("sampo(beta=0.1)", 1.0),
        ("sft()", 0.2),
    ]
    assert "rho_t" in "".join(told.terms[0].formula)
    assert "2406.10957" in told.terms[0].source
    assert "log-probs of the reference for each token" in told.sentences


def test_parts_form_a_tree_that_prints_as_expressions():
    top = explain(parse("odpo(beta=0.5)")).parts
    offset = next(node for node in top.children if node.knob == "offset")
    assert (offset.part, offset.children) == ("ScoreGap()", ())
    assert offset.idea.startswith("weight * f of the two scores")


def test_an_objective_of_parts_shows_what_they_compute():
    told = explain(parse("Pairwise(beta=1.0, loss=Hinge(at=2.0))"))
    assert any("relu(at - z)" in line for line in told.terms[0].formula)


@pytest.mark.parametrize("name", SHELF)
def test_every_recipe_can_be_explained(name):
    told = explain(SHELF[name].build(), GAPS)
    assert all(term.formula and term.source for term in told.terms)
    assert all(math.isfinite(row.loss) for row in told.slopes)


def test_the_shelf_tells_each_recipe_with_its_knobs():
    entries = {entry.name: entry for entry in shelf()}
    assert list(entries) == sorted(SHELF)
    (beta, alpha, scale) = entries["odpo"].knobs
    assert (beta.name, beta.kind, beta.default) == ("beta", "a number, greater than 0", "0.1")
    assert scale.kind == "one of 'log', 'identity', 'logratio'"
    assert ("dpo", "alpha=0.0") in entries["odpo"].limits
    assert alpha.default == "1.0"


@pytest.mark.parametrize("entry", shelf(), ids=lambda entry: entry.name)
def test_every_example_on_the_shelf_parses(entry):
    assert parse(entry.example).needs == entry.needs
