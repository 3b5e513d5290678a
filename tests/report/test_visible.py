from hypothesis import given
from hypothesis import strategies as st

from truing.report.visible import shortened, visible


def test_control_characters_are_shown_as_their_pictures():
    assert visible("a\x00b\x1b[31m\x7f") == "a␀b␛[31m␡"


def test_lines_and_tabs_stay_and_a_lone_return_is_shown():
    assert visible("one\r\ntwo\n\tthree\rfour") == "one\ntwo\n\tthree␍four"


def test_marks_that_turn_the_writing_direction_are_spelled_out():
    assert visible("safe\u202egnp.exe") == "safe⟨U+202E⟩gnp.exe"


def test_joined_letters_and_emoji_stay_as_they_are():
    text = "می\u200cخواهم 👩\u200d💻"
    assert visible(text) == text


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_can_be_written_as_utf8(text):
    assert visible(text).encode("utf-8").decode("utf-8") == visible(text)


@given(st.text(st.characters(exclude_categories=())))
def test_a_text_made_visible_is_visible(text):
    assert visible(visible(text)) == visible(text)


def test_shortening_says_how_much_is_missing():
    assert shortened("abcdef", 4) == ("abcd", 2)
    assert shortened("abc", 4) == ("abc", 0)
