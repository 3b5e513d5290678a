"""Which reference, as an expression; what cannot be is refused before any model loads."""

import pytest

from truing.core import Needs
from truing.errors import ConfigError, KnobError, NeedsError
from truing.recipes import parse
from truing.references.fitting import refuse_misfits, refuse_moving, refuse_other_tokens
from truing.references.policies import (
    Ema,
    OtherModel,
    Sync,
    each,
    of_folder,
    parse_reference,
    policy_start,
    standing,
    tr_dpo_hard,
    tr_dpo_soft,
)


@pytest.mark.parametrize(
    "text",
    [
        "policy_start()",
        "model(path='a', revision='b', dtype='bfloat16', quantisation='nf4', offload='disk')",
        "model(path='a', tokenizer='own')",
        "unconditional()",
        "unconditional(reference=model(path='a'))",
        "ema(decay=0.4, every=3)",
        "sync(every=512)",
        "several(references=[policy_start(), model(path='a'), ema(decay=0.5)])",
        "none()",
    ],
)
def test_a_reference_prints_as_it_is_written(text):
    value = parse_reference(text)
    assert repr(value) == text
    assert parse_reference(repr(value)) == value


def test_both_settings_of_tr_dpo_have_names():
    # arXiv:2404.09656: alpha 0.6 at every step; the whole policy every 512 steps.
    assert parse_reference("tr_dpo_soft()") == tr_dpo_soft() == Ema(decay=0.4, every=1)
    assert parse_reference("tr_dpo_hard()") == tr_dpo_hard() == Sync(every=512)


def test_a_first_argument_needs_no_name_and_a_list_is_a_list():
    value = parse_reference("several([policy_start(), model('a')])")
    assert each(value) == (policy_start(), OtherModel("a"))


def test_held_out_rows_are_held_against_what_stands_still():
    value = parse_reference("several([ema(0.4), model('a')])")
    assert standing(value) == [policy_start(), OtherModel("a")]


def test_a_rounds_folder_is_a_reference():
    assert of_folder("runs/round-1") == OtherModel("runs/round-1")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("ema(decay=1.0)", "must be greater than 0 and less than 1"),
        ("ema(decay=0)", "must be greater than 0"),
        ("sync(every=0)", "must be at least 1"),
        ("sync()", "must be given"),
        ("several([policy_start()])", "needs two references or more"),
        ("several([ema(0.4), sync(3)])", "can follow the policy with one reference only"),
        ("several([policy_start(), none()])", "must be a value of"),
        ("unconditional(ema(0.4))", "must be a value of"),
        ("model(path='a', quantisation='int3')", "must be one of"),
        ("model(path='a', quantisation='int8', dtype='float64')", "is not for quantised weights"),
        ("extrapolate(alpha=0.3)", "rounds"),
        ("modle(path='a')", "did you mean model"),
    ],
)
def test_an_impossible_reference_is_refused_where_it_is_written(text, what):
    with pytest.raises(KnobError, match=what):
        parse_reference(text)


@pytest.mark.parametrize(
    ("objective", "reference", "what"),
    [
        ("dpo()", "none()", "needs a reference"),
        ("likelihood_ratio()", "none()", "needs a reference"),
        ("simpo()", "ema(0.4)", "would have no effect"),
        ("simpo()", "model('a')", "would have no effect"),
        ("dpo()", "several([policy_start(), model('a')])", "reads one reference"),
        ("mrpo(alpha=0.3)", "policy_start()", "needs 2 references"),
        ("likelihood_ratio()", "ema(0.4)", "moves while it trains"),
        ("tdpo()", "unconditional()", "does not see the prompt"),
    ],
)
def test_a_combination_without_sense_is_an_error(objective, reference, what):
    with pytest.raises((NeedsError, ConfigError), match=what):
        refuse_misfits(parse_reference(reference), parse(objective).needs, objective)


@pytest.mark.parametrize(
    ("objective", "reference"),
    [
        ("dpo()", "ema(0.4)"),
        ("tdpo()", "sync(3)"),
        ("dpo()", "unconditional(model('a'))"),
        ("simpo()", "none()"),
        ("likelihood_ratio()", "model('a')"),
        ("mrpo(alpha=0.3)", "several([policy_start(), ema(0.4)])"),
    ],
)
def test_what_makes_sense_passes(objective, reference):
    refuse_misfits(parse_reference(reference), parse(objective).needs, objective)


def test_a_moving_reference_cannot_be_computed_before():
    with pytest.raises(KnobError, match="nothing to compute before"):
        refuse_moving(parse_reference("sync(3)"), "reference")


@pytest.mark.parametrize(
    ("needs", "is_cut", "what"),
    [
        (Needs(reference="tokens", references=1), False, "token by token"),
        (Needs(reference="sums", references=1, live_reference=True), False, "token by token"),
        (Needs(reference="sums", mismatched_responses=True), False, "another row's response"),
        (Needs(reference="sums", references=1), True, "cut at the length limit"),
    ],
)
def test_another_tokenizer_gives_whole_sums_and_nothing_else(needs, is_cut, what):
    with pytest.raises(NeedsError, match=what):
        refuse_other_tokens(OtherModel("a"), needs, is_cut=is_cut, objective="dpo()")
