"""Objectives as text: what parses, what prints, and what an error says."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from truing.core.view import View
from truing.errors import KnobError, NeedsError
from truing.objectives import Objective, Pairwise, Sum
from truing.recipes import averaged, dpo, odpo, parse, rebel, sampo, sft
from truing.recipes._recipe import SHELF
from truing.testing import sample_view

calls = st.one_of(
    st.sampled_from([repr(recipe.build()) for recipe in SHELF.values()]),
    st.builds("dpo(beta={!r})".format, st.floats(1e-6, 1e6)),
    st.builds("odpo(alpha={!r}, scale={!r})".format, st.floats(0, 5), st.just("identity")),
    st.builds("averaged(cdpo(beta={!r}))".format, st.integers(1, 9)),
    st.builds("sampo(keep_end={!r})".format, st.booleans()),
    st.builds("mrpo(alpha=[{!r}, {!r}])".format, st.floats(0, 0.5), st.floats(0, 0.5)),
    st.just("Pairwise(beta=0.5, likelihood=LogRatio(pool=TokenMean()), loss=Hinge(at=2.0))"),
)
factors = st.floats(-10, 10).map(repr)
terms = st.one_of(calls, st.builds("{}*{}".format, factors, calls))
states = {"bco", "beta_dpo", "alpha_dpo", "mixed_po"}


@settings(max_examples=150)
@given(st.lists(terms, min_size=1, max_size=4), st.booleans())
def test_what_prints_parses_back(pieces, in_brackets):
    seen = [name for piece in pieces for name in states if f"{name}(" in piece]
    if len(seen) > 1:
        return
    text = " + ".join(pieces)
    objective = parse(f"0.5*({text})" if in_brackets else text)
    again = parse(repr(objective))
    assert again == objective
    assert repr(again) == repr(objective)
    assert hash(again) == hash(objective)


def test_python_and_text_are_the_same_value():
    written = parse("odpo(beta=0.1, alpha=1.0) + 0.2*sft()")
    assert written == odpo(beta=0.1, alpha=1.0) + 0.2 * sft()
    assert repr(written) == "odpo(beta=0.1, alpha=1.0) + 0.2*sft()"


def test_a_value_prints_the_call_that_made_it_and_forgets_it_when_changed():
    assert repr(sampo(keep_end=True)) == "sampo(keep_end=True)"
    assert repr(replace(dpo(beta=0.3), beta=0.5)) == "Pairwise(beta=0.5)"
    assert repr(averaged(dpo(beta=5))) == "averaged(dpo(beta=5.0))"


def test_sums_are_flat_and_factors_multiply():
    assert dpo() + (sft() + odpo()) == (dpo() + sft()) + odpo()
    assert 2 * (0.1 * sft()) == 0.2 * sft()
    assert isinstance(parse("dpo() + sft()"), Sum)


def test_parse_takes_parentheses_signs_and_either_order_of_a_product():
    assert parse("(dpo() + sft()) * 2") == 2.0 * (dpo() + sft())
    assert parse("dpo() + -0.5*sft()") == dpo() + -0.5 * sft()
    assert parse(" dpo( 0.3 ) ") == dpo(beta=0.3)


WRONG = [
    ("dop(beta=0.1)", "there is no dop", "did you mean dpo"),
    ("dpo(bta=0.1)", "no knob bta", "did you mean beta"),
    ("dpo(beta=-1.0)", "greater than 0, got -1.0", "the knobs are beta"),
    ("dpo(beta=0)", "greater than 0", "beta"),
    ("dpo(beta='0.1')", "must be a number", "beta"),
    ("dpo(beta=True)", "must be a number", "beta"),
    ("dpo(beta=1e999)", "greater than 0, got inf", "beta"),
    ("cdpo(epsilon=0.5)", "less than 0.5", "beta, epsilon"),
    ("ipo(average=1)", "True or False", "average"),
    ("odpo(scale='square')", "one of 'log', 'identity', 'logratio'", "scale"),
    ("dpo_shift()", "must be given", "dpo_shift(lam, beta=0.1)"),
    ("dpo(0.1, 0.2)", "must be named", "dpo(beta=0.1)"),
    ("dpo(0.1, beta=0.2)", "given twice", "dpo(beta=0.1)"),
    ("dpo(**{'beta': 1})", "must be named", "dpo(beta=0.1)"),
    ("dpo", "stands without its brackets", "dpo()"),
    ("apo()", "apo is not a name", "apo_zero() and apo_down()"),
    ("mpo(beta=0.1)", "mpo is not a name", "maximum_po() is"),
    ("sigmoid_norm()", "sigmoid_norm is not a name", "averaged(dpo"),
    ("Hinge()", "this is a part", "Pairwise(...)"),
    ("0.5", "this is a value", "dpo(beta=0.1)"),
    ("Pairwise", "without its brackets", "Pairwise()"),
    ("dpo() + 1", "cannot be added", "dpo() + 0.2*sft()"),
    ("dpo() * sft()", "cannot be multiplied", "0.2*sft()"),
    ("dpo() - sft()", "cannot be written", "+ and *"),
    ("__import__('os').system('true')", "cannot be written", "only names"),
    ("dpo(beta=open('x'))", "there is no open", ""),
    ("(lambda: dpo())()", "cannot be written", ""),
    ("[dpo() for _ in 'ab']", "cannot be written", ""),
    ("'a' + 'b'", "cannot be added", ""),
    ("dpo(", "not an expression", "dpo(beta=0.1) + 0.2*sft()"),
    ("", "is empty", "dpo(beta=0.1)"),
    ("-" * 9000 + "1", "", ""),
    ("(" * 300 + ")" * 300, "not an expression", ""),
    ("dpo()" + "+dpo()" * 2000, "longer than", ""),
    ("averaged(simpo())", "by length already", "leave averaged"),
    ("averaged(averaged(dpo()))", "by length already", "leave averaged"),
    ("averaged(dpo() + sft())", "not one contrastive loss", "averaged(dpo(beta=5.0)) + 0.2*sft()"),
    ("sampled(simpo())", "not one loss on log-ratios", "sampled(dpo())"),
    ("humanline(sampo())", "not one loss on log-ratios", "humanline(dpo())"),
    ("sampo(tokens='largest', keep_end=True)", "has no effect", "tokens="),
    ("f_dpo(alpha=0.5)", "has no effect", "divergence="),
    ("f_dpo(divergence='alpha')", "must be given", "alpha=0.5"),
    ("exo(beta_reward=0.1, epsilon=0.2)", "has no effect", "leave it out"),
    ("nca(first_bonus=0.1)", "has no effect", "alpha"),
    ("chi2po(clip='each_side')", "has no effect", "r_max"),
    ("tdpo(version=1, alpha=1.5)", "has no effect", "version=2"),
    ("sppo(hard=True, single=True)", "has no effect", "leave one"),
    ("mrpo(form='separate')", "take numbers", "alpha=0.5"),
    ("mrpo(clip='none', eta=0.2)", "has no effect", "clip"),
    ("mrpo(alpha=[0.7, 0.7])", "more than 1", "extra references"),
    ("Pairwise(beta=1.0, loss=AnchoredZero(), offset=Constant(value=1.0))", "no effect", "leave"),
    ("bco() + beta_dpo() + bco(beta=0.5)", "running value", "leave out"),
    ("bco(unpaired=True) + exo(beta_reward=1.0) + dpo()", "", ""),
]


@pytest.mark.parametrize(("text", "what", "fix"), WRONG[:-1], ids=[w[0][:40] for w in WRONG[:-1]])
def test_an_error_says_what_is_wrong_and_how_to_mend_it(text, what, fix):
    with pytest.raises(KnobError) as caught:
        parse(text)
    assert what in caught.value.what
    assert fix in caught.value.fix


def test_terms_that_no_row_serves_are_refused():
    class Unpaired(Objective):
        """Reads unpaired rows only."""

        def own_needs(self):
            from truing.core import Needs

            return Needs(responses=frozenset({"unpaired"}))

        def terms(self, view):
            raise AssertionError

    with pytest.raises(KnobError, match="no kind of row"):
        dpo() + Unpaired()


def bare(**changes) -> View:
    return replace(sample_view(((3, 4), (2, 2))), **changes)


def reversed_scores(view: View):
    return replace(view, scores=-view.scores)


def tied_scores(view: View):
    return replace(view, scores=torch.ones_like(view.scores))


MISSING = [
    ("odpo()", bare(scores=None), "scores", "score_chosen"),
    ("odpo()", tied_scores(bare()), "no higher score", "identity"),
    ("odpo()", reversed_scores(bare()), "no higher score", "identity"),
    ('odpo(scale="logratio")', reversed_scores(bare()), "not greater than 0", "identity"),
    ("dpo()", bare(references=None), "reference", "reference_sums"),
    ("sampo()", bare(references=None), "reference", "references"),
    ("sampo()", bare(row_ids=None), "row ids", "positions"),
    ("sppo()", bare(win_probability=None), "win probability", "hard=True"),
    ("likelihood_ratio()", bare(unconditional=None), "without the prompt", "unconditional"),
    ("orpo()", bare(prompt=None), "log-probs of the prompts", "prompt"),
    ("kto()", bare(mismatched=None), "mismatched", "mismatched"),
    ("wpo()", bare(statistics={}), "log_sum_sq", "needs"),
    ("hpo(dpo(), gamma=0.1, temperature=1.0, tau=0.7)", bare(heads={}), "'value'", "needs"),
    ("tpo()", bare(auxiliary={}), "auxiliary source 'gold'", "auxiliary"),
    (
        "mrpo()",
        bare(references=sample_view(((3, 4), (2, 2))).references[:1]),
        "2 references",
        "several",
    ),
]


@pytest.mark.parametrize(("text", "view", "what", "fix"), MISSING)
def test_what_a_view_lacks_is_named_with_its_cure(text, view, what, fix):
    with pytest.raises(NeedsError) as caught:
        parse(text)(view)
    assert what in f"{caught.value.what} {caught.value.where}"
    assert fix in caught.value.fix


def test_scores_that_need_no_order_may_be_tied():
    for objective in (odpo(scale="identity"), rebel()):
        assert torch.isfinite(objective(tied_scores(bare())).loss)


def test_k_wise_rows_have_no_labels_for_pointwise_losses():
    view = replace(sample_view(((3, 4, 2),)), labels=None)
    with pytest.raises(NeedsError, match="chosen in one pair and rejected in another"):
        parse("apo_zero(unpaired=True)")(view)


def test_reference_sums_serve_objectives_of_whole_sums():
    view = sample_view()
    sums = torch.stack(
        [r.new_zeros(view.num_responses).index_add(0, view.response, r) for r in view.references]
    )
    by_sum = replace(view, references=None, reference_sums=sums)
    for objective in (dpo(), averaged(dpo(beta=5.0))):
        torch.testing.assert_close(objective(by_sum).loss, objective(view).loss)


def test_parts_refuse_values_out_of_their_range_too():
    with pytest.raises(KnobError, match="greater than 0"):
        Pairwise(beta=-1.0)


def test_importing_recipes_brings_torch_and_nothing_else_of_weight():
    heavy = [
        "transformers",
        "datasets",
        "accelerate",
        "peft",
        "pyarrow",
        "pydantic",
        "rich",
        "yaml",
    ]
    code = f"import sys, truing.recipes; print([n for n in {heavy} if n in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_expression_language_itself_needs_no_torch():
    code = (
        "import sys; from truing.core.language import parse; "
        "print(parse('f(a=1)', {'f': lambda a: a}, {}), 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "1 False"
