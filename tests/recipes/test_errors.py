"""What is wrong is said with its place and its cure, before anything is computed where possible."""

from dataclasses import replace

import pytest
import torch

from truing import recipes
from truing.errors import KnobError, NeedsError
from truing.recipes import parse

from .longhand import seen
from .rows import PAIRS

WRONG = {
    # what is written: what is said, and the cure
    "dpoo()": ("there is no dpoo", "did you mean dpo"),
    "apo()": ("apo is not a name here", "apo_zero() and apo_down()"),
    "dpo": ("dpo stands without its brackets", "write dpo()"),
    "dpo(bta=0.1)": ("there is no knob bta", "did you mean beta?"),
    "dpo(beta=0.1, gamma=1)": ("there is no knob gamma", "the call is dpo(beta=0.1)"),
    "dpo(beta=-1)": ("must be greater than 0, got -1", "the knobs are beta"),
    "dpo(beta=0)": ("must be greater than 0, got 0", "the knobs are beta"),
    "dpo(beta=1e999)": ("must be greater than 0", "the knobs are beta"),
    "dpo(beta=True)": ("must be a number, got True", "the knobs are beta"),
    "dpo(beta='0.1')": ("must be a number, got '0.1'", "the knobs are beta"),
    "cdpo(epsilon=0.5)": ("must be at least 0 and less than 0.5", "the knobs are beta, epsilon"),
    "f_dpo(divergence='kl')": ("must be one of 'reverse_kl'", "the knobs are"),
    "hpo(dpo(), gamma=1, temperature=1, tau=0.4)": ("must be greater than 0.5", "the knobs are"),
    "slic()": ("must be given", "slic(lam"),
    "maximum_po()": ("must be given", "maximum_po(beta_r"),
    "dpo(0.1, 0.2)": ("arguments must be named", "give every argument after the first"),
    "dpo() + 1": ("cannot be added", "dpo() + 0.2*sft()"),
    "dpo() * sft()": ("cannot be multiplied", "multiply an objective by a number"),
    "0.5": ("not an objective", "write a recipe"),
    "Hinge()": ("this is a part", "put the part into Pairwise"),
    "dpo(": ("this is not an expression", "it is made of"),
    "": ("the expression is empty", "write one such as"),
    "__import__('os')": ("there is no __import__", "there are"),
    "dpo().beta": ("this cannot be written here", "only names"),
}

WITHOUT_EFFECT = (
    "sampo(tokens='largest', shared_positions=False)",
    "sampo(tokens='average', keep_end=True)",
    "chi2po(clip='each_side')",
    "f_dpo(alpha=0.5)",
    "f_dpo(divergence='js', alpha=0.5)",
    "exo(beta_reward=0.5, epsilon=0.1)",
    "exo(beta_reward=0.5, normalized=False)",
    "infonca(first_bonus=0.01)",
    "nca(first_bonus=0.01)",
    "tdpo(version=1, alpha=0.3)",
    "sppo(hard=True, single=True)",
    "averaged(ipo())",
    "averaged(simpo())",
    "averaged(sft())",
    "averaged(dpo() + sft())",
    "sampled(sampo())",
    "sampled(simpo())",
    "humanline(posterior())",
    "mrpo(form='separate')",
    "mrpo(form='separate', alpha=0.3, crossed=True)",
)


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_expression_is_said_with_its_cure(text):
    what, fix = WRONG[text]
    with pytest.raises(KnobError) as caught:
        parse(text)
    assert what in caught.value.what
    assert fix in caught.value.fix


@pytest.mark.parametrize("text", WITHOUT_EFFECT)
def test_an_argument_without_effect_is_an_error_when_the_value_is_made(text):
    with pytest.raises(KnobError) as caught:
        parse(text)
    assert caught.value.fix


@pytest.mark.parametrize(("number", "sentence"), [(-1.0, "greater than 0"), ("x", "a number")])
def test_python_and_text_refuse_with_the_same_sentence(number, sentence):
    with pytest.raises(KnobError, match=sentence) as in_python:
        recipes.odpo(beta=number)
    with pytest.raises(KnobError) as in_text:
        parse(f"odpo(beta={number!r})")
    assert str(in_python.value) == str(in_text.value)
    assert in_python.value.where == "odpo(beta=)"


NEEDED = {
    "dpo()": ("references", "references"),
    "sampo()": ("references", "references"),
    "odpo()": ("scores", "score_chosen"),
    "rebel()": ("scores", "score_chosen"),
    "exo(beta_reward=0.5)": ("scores", "score_chosen"),
    "sppo()": ("win_probability", "sppo(hard=True)"),
    "likelihood_ratio()": ("unconditional", "unconditional"),
    "kto()": ("mismatched", "mismatched"),
    "orpo()": ("prompt", "prompt_group"),
}
EMPTY = {"auxiliary": {}, "statistics": {}, "heads": {}}


@pytest.mark.parametrize("text", NEEDED)
def test_what_a_view_lacks_is_named_with_its_cure(text):
    name, fix = NEEDED[text]
    view = replace(seen(PAIRS, row_ids=torch.arange(3)).view, **{name: None})
    with pytest.raises(NeedsError) as caught:
        parse(text)(view)
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("wpo()", "log_sum_sq"),
        ("tdpo()", "kl_pos"),
        ("hpo(dpo(), gamma=0.1, temperature=1.0, tau=0.7)", "value"),
        ("tpo()", "gold"),
        ("maximum_po(beta_r=0.1)", "sft"),
        ("slic(lam=0.1, source='sft')", "sft"),
    ],
)
def test_a_missing_statistic_head_or_source_is_named(text, name):
    view = replace(seen(PAIRS).view, **EMPTY)
    with pytest.raises(NeedsError, match=name) as caught:
        parse(text)(view)
    assert caught.value.fix


def test_several_references_are_asked_for():
    with pytest.raises(NeedsError) as caught:
        parse("mrpo()")(seen(PAIRS, references=1).view)
    assert "2" in str(caught.value)
    assert caught.value.fix


def test_drawn_tokens_want_row_ids_or_positions():
    with pytest.raises(NeedsError) as caught:
        parse("sampo()")(seen(PAIRS).view)
    assert "row_ids" in caught.value.fix
    assert "positions" in caught.value.fix


def with_scores(chosen, rejected):
    view = seen(PAIRS).view
    return replace(view, scores=torch.tensor([chosen, rejected] * 3, dtype=torch.float64))


@pytest.mark.parametrize("scores", [(1.0, 1.0), (1.0, 2.0)], ids=["tied", "reversed"])
def test_tied_or_reversed_scores_are_refused_under_a_logarithm(scores):
    with pytest.raises(NeedsError, match="no higher score") as caught:
        parse("odpo()")(with_scores(*scores))
    assert "identity" in caught.value.fix
    assert caught.value.where == "pair 0, scores"


def test_the_identity_takes_tied_scores():
    terms = parse("odpo(scale='identity')")(with_scores(1.0, 1.0))
    torch.testing.assert_close(terms.loss, parse("dpo()")(seen(PAIRS).view).loss)


def test_negative_scores_have_no_log_ratio():
    with pytest.raises(NeedsError) as caught:
        parse("odpo(scale='logratio')")(with_scores(-1.0, -2.0))
    assert caught.value.fix


def test_a_log_ratio_of_tied_or_reversed_scores_is_refused_as_the_log_is():
    with pytest.raises(NeedsError, match="no higher score"):
        parse("odpo(scale='logratio')")(with_scores(1.0, 2.0))
