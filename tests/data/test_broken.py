"""Every malformed file of the shared data gets the message that its README asks for."""

import pytest

from truing.core import Needs
from truing.data import prepare
from truing.errors import RowError

# A file, and words of its one error in the order in which they stand there.
REFUSED = {
    "bad-json-line-3.jsonl": ["bad-json-line-3.jsonl row 3", "not valid JSON", "line 3 column 79"],
    "trailing-comma-line-2.jsonl": ["row 2", "not valid JSON"],
    "missing-rejected-row-4.jsonl": ["row 4", "no column `rejected`"],
    "misspelt-column.jsonl": [
        "`chosen` is missing",
        "prompt, choosen, rejected",
        "columns: {chosen: choosen}",
    ],
    "wrong-types.jsonl": [
        "row 2, column `chosen`: is a number",
        "text or a list of messages is wanted",
        "row 3, column `chosen`: is a list of texts",
        "row 4, column `chosen`: is true or false",
        "row 5: is a list of texts",
        "row 6: is text",
    ],
    "null-prompt.jsonl": ["row 3, column `prompt`: is null"],
    "role-order.jsonl": [
        "row 4, column `chosen`: turn 1",
        "row 5, column `prompt`: has a system turn as turn 2",
        "row 6, column `chosen`: turn 1 has the unknown role 'bot'",
        "row 7, column `prompt`: turn 2",
        "row 8, column `prompt`: is an empty list",
    ],
    "message-keys.jsonl": [
        "row 2, column `chosen`: turn 1 has the keys from, value",
        "row 3, column `prompt`: turn 1 has the keys role;",
        "row 4, column `prompt`: turn 1: content is a list with the keys type, text",
        "columns: {role: from, content: value}",
    ],
    "not-utf8-line-3.jsonl": ["row 3", "not UTF-8", "byte 18", "0xe9"],
    "truncated.jsonl.gz": ["compressed file ends early", "also not those before"],
    "mixed-plain-and-conversational.jsonl": [
        "row 2: is conversational, row 1 was plain; one file, one kind",
        "row 4",
    ],
    "mixed-within-row.jsonl": ["row 2", "`chosen` is conversational, `rejected` is text"],
    "scores-as-strings.jsonl": [
        "row 2, column `score_chosen`: is text ('8.0'); a number is wanted",
        "row 3, column `score_rejected`: is null",
    ],
    "scores-nan.jsonl": [
        "row 2, column `score_chosen`: is nan",
        "row 4, column `score_rejected`: is -inf",
    ],
    "zero-rows.jsonl": ["no rows in the file"],
    "only-blank-lines.jsonl": ["no rows in the file"],
    "array-not-lines.jsonl": ["line 1", "looks like one JSON array", "name the file .json"],
    "kwise-lengths.jsonl": [
        "row 2, column `scores`: has 2 numbers for 3 responses",
        "row 5, column `responses`: is an empty list",
    ],
    "label-types.jsonl": [
        "row 2, column `label`: is text ('true')",
        "row 4, column `label`: is null",
        "row 5, column `label`: has no column `label`",
    ],
}
# A file that is read, the rows it gives, and words of its notes.
READ = {
    "bom.jsonl": (5, []),
    "crlf-and-blank-lines.jsonl": (3, []),
    "chosen-equals-rejected.jsonl": (4, ["equal responses: 1 row", "row 2"]),
    "empty-answers.jsonl": (2, ["an empty response: 2 rows", "rows 2, 3"]),
    "not-a-gzip.jsonl.gz": (5, ["is not gzip"]),
    "scores-reversed.jsonl": (5, ["higher score: 1 row", "row 3", "equal scores: 1 row", "row 5"]),
    "long-answer.jsonl": (
        2,
        ["more tokens than max_length: 1 row", "row 2: prompt 7, responses 2"],
    ),
    "long-prompt.jsonl": (1, ["more tokens than max_length: 1 row", "row 2: prompt 18002"]),
    "prompt-inside-answers.jsonl": (4, []),
    "one-label-only.jsonl": (6, ["no row is labelled undesirable"]),
    "special-tokens-in-text.jsonl": (2, ["end token inside a response", "row 1", "control texts"]),
    "duplicate-rows.jsonl": (6, []),
}


def test_every_broken_file_is_looked_at(shared):
    files = {p.name for p in (shared / "data/broken").iterdir()} - {"README.md"}
    assert files == set(REFUSED) | set(READ)


@pytest.mark.parametrize("name", REFUSED)
def test_a_malformed_file_is_refused_with_its_place_and_reason(name, shared, tokenizer):
    with pytest.raises(RowError) as caught:
        prepare(shared / "data/broken" / name, tokenizer("tok512-chatml"), max_length=512)
    text = str(caught.value)
    position = 0
    for words in REFUSED[name]:
        assert words in text[position:], text
        position += text[position:].index(words)
    assert name in text
    assert "\n  fix: " in text


@pytest.mark.parametrize("name", READ)
def test_a_strange_file_is_read_and_what_is_strange_is_said(name, shared, tokenizer):
    rows, words = READ[name]
    source = shared / "data/broken" / name
    prepared = prepare(source, tokenizer("stories260K"), max_length=512)
    assert prepared.summary.rows == rows
    notes = "\n".join(prepared.summary.notes)
    for word in words:
        assert word in notes
    assert notes == "" or words


def test_a_byte_order_mark_is_no_part_of_the_first_column(shared):
    from truing.data import read_rows

    first = next(read_rows(shared / "data/broken/bom.jsonl"))
    assert first.prompt == "What is 1 plus 1?"


def test_blank_lines_count_in_line_numbers(shared):
    from truing.data import read_rows

    rows = read_rows(shared / "data/broken/crlf-and-blank-lines.jsonl")
    assert [row.where.row for row in rows] == [1, 3, 5]


def test_duplicates_are_counted_and_kept(shared, tokenizer):
    source = shared / "data/broken/duplicate-rows.jsonl"
    prepared = prepare(source, tokenizer("gpt2"), max_length=100)
    assert prepared.summary.duplicates == 2
    assert len({example.row_id for example in prepared.examples}) == 6


def test_an_implicit_prompt_is_cut_at_a_word(shared):
    from truing.data import read_rows

    rows = list(read_rows(shared / "data/broken/prompt-inside-answers.jsonl"))
    assert rows[0].prompt == "What is 1 plus 1? It is"
    assert rows[0].responses == (" 2.", " 3.")
    assert rows[3].prompt == ""


def test_a_reversed_or_tied_row_is_left_out_where_an_order_is_needed(shared, tokenizer):
    source = shared / "data/broken/scores-reversed.jsonl"
    needs = Needs(scores="ordered")
    summary = prepare(source, tokenizer("gpt2"), max_length=100, needs=needs).summary
    assert summary.rows == 3
    assert {word: tally.count for word, tally in summary.left_out.items()} == {
        "tie": 1,
        "reversed": 1,
    }


def test_strict_makes_a_row_without_signal_an_error(shared, tokenizer):
    source = shared / "data/broken/chosen-equals-rejected.jsonl"
    with pytest.raises(RowError, match=r"equal responses: 1 row \(.*row 2\)"):
        prepare(source, tokenizer("gpt2"), max_length=100, strict=True)


def test_strict_makes_a_row_over_the_limit_an_error(shared, tokenizer):
    source = shared / "data/broken/long-prompt.jsonl"
    with pytest.raises(RowError, match="more tokens than max_length"):
        prepare(source, tokenizer("gpt2"), max_length=100, strict=True)


def test_the_template_s_own_refusal_comes_out_with_its_row(shared, tokenizer, tmp_path):
    source = shared / "data/broken/role-order.jsonl"
    bad = tmp_path / "bad.jsonl"
    prepared = prepare(source, tokenizer("mistral-v1"), max_length=512, skip_bad=bad)
    assert prepared.summary.rows == 1
    assert "Conversation roles must alternate" in bad.read_text().splitlines()[-1]


def test_an_unusual_order_of_turns_that_the_template_takes_is_named(shared, tokenizer, tmp_path):
    source, bad = shared / "data/broken/role-order.jsonl", tmp_path / "bad.jsonl"
    summary = prepare(source, tokenizer("tok512-chatml"), max_length=512, skip_bad=bad).summary
    assert summary.rows == 3
    assert [place.row for place in summary.odd_turns.places] == [2, 3]


def test_skip_bad_writes_the_rows_out_and_goes_on(shared, tokenizer, tmp_path):
    import json

    source, bad = shared / "data/broken/wrong-types.jsonl", tmp_path / "bad.jsonl"
    prepared = prepare(source, tokenizer("gpt2"), max_length=100, skip_bad=bad)
    assert prepared.summary.rows == 1
    assert prepared.summary.malformed.count == 5
    lines = [json.loads(line) for line in bad.read_text().splitlines()]
    assert [line["row"] for line in lines] == [2, 3, 4, 5, 6]
    assert lines[0]["column"] == "chosen"
    assert json.loads(lines[0]["raw"])["chosen"] == 4


def test_only_rows_over_the_limit_leaves_nothing_and_says_so(shared, tokenizer):
    source = shared / "data/broken/bom.jsonl"
    with pytest.raises(RowError, match="no row is left") as caught:
        prepare(source, tokenizer("gpt2"), max_length=3)
    assert "raise max_length" in caught.value.fix
