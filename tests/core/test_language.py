"""The expression language and the types of knobs, whatever room uses them."""

from typing import Any, Literal

import pytest

from truing.core.knobs import (
    Count,
    Fraction,
    Interval,
    NonNegative,
    Positive,
    Real,
    UnfitError,
    checked,
    described,
)
from truing.core.language import parse, signature
from truing.errors import KnobError


def model(path: str, revision: str | None = None) -> tuple[str, str | None]:
    return path, revision


def several(members: tuple[Any, ...]) -> tuple[Any, ...]:
    return members


NAMES = {"model": model, "several": several}


def test_a_list_of_calls_is_read_as_a_tuple():
    text = "several([model('a'), model(path='b', revision='main')])"
    assert parse(text, NAMES, {}) == (("a", None), ("b", "main"))


def test_a_hint_answers_a_name_that_is_called_otherwise():
    with pytest.raises(KnobError, match="write model"):
        parse("hub('x')", NAMES, {"hub": "write model(path=...)"})


def test_an_unknown_name_without_a_likeness_lists_what_there_is():
    with pytest.raises(KnobError, match="there are model, several"):
        parse("qqq()", NAMES, {})


def test_the_error_shows_the_piece_it_means():
    with pytest.raises(KnobError) as caught:
        parse("several([model('a'), model_('b')])", NAMES, {})
    assert caught.value.where == "model_('b')"


def test_a_signature_prints_as_it_is_called():
    assert signature("model", model) == "model(path, revision=None)"


FITTING = [
    (1, Positive, 1.0),
    (0, NonNegative, 0.0),
    (1, Fraction, 1.0),
    (3, Count, 3),
    (-2.5, Real, -2.5),
    ([0.1, 1], tuple[Fraction, ...], (0.1, 1.0)),
    (None, Positive | None, None),
    (2, Positive | None, 2.0),
    ("log", Literal["log", "identity"], "log"),
    (2, Literal[1, 2], 2),
    (True, bool, True),
]


@pytest.mark.parametrize(("value", "kind", "wanted"), FITTING)
def test_a_fitting_value_becomes_what_its_type_says(value, kind, wanted):
    got = checked(value, kind)
    assert got == wanted
    assert type(got) is type(wanted)


UNFIT = [
    (0, Positive, "must be greater than 0, got 0"),
    (1.5, Fraction, "at least 0 and at most 1"),
    (float("nan"), Real, "must be a finite number"),
    (float("inf"), Positive, "greater than 0"),
    (0, Count, "at least 1"),
    (1.5, Count, "a whole number"),
    (True, Positive, "a number, got True"),
    (1, bool, "True or False"),
    (True, Literal[1, 2], "one of 1, 2"),
    ("x", Positive | None, "must be a number, or must be None"),
    (0.5, tuple[Fraction, ...], "a list"),
    (None, str, "a text"),
]


@pytest.mark.parametrize(("value", "kind", "sentence"), UNFIT)
def test_an_unfit_value_is_refused_in_a_sentence(value, kind, sentence):
    with pytest.raises(UnfitError) as caught:
        checked(value, kind)
    assert sentence in str(caught.value)


def test_a_type_is_described_with_its_range_or_choices():
    assert described(Positive) == "a number, greater than 0"
    assert described(Literal["a", "b"]) == "one of 'a', 'b'"
    assert described(Positive | None) == "a number, greater than 0 or None"
    assert described(Real) == "a number"
    assert 0.5 in Interval(0, 1)
