"""Calls and descriptions of tools: read as they are, or named; never dropped without a word."""

import pytest

from truing.data import prepare, read_rows
from truing.errors import RowError
from truing.jobs.inspect import inspect

TOOLS = [{"name": "look"}]


def conversation(**more):
    def turn(role, content):
        return [{"role": role, "content": content}]

    row = {"prompt": turn("user", "Hi"), "chosen": turn("assistant", "Yes, hello."),
           "rejected": turn("assistant", "No.")}  # fmt: skip
    return row | more


@pytest.fixture
def chat(tokenizer):
    return tokenizer("smollm2-chatml")


def without_tools(tokenizer):
    from copy import deepcopy

    other = deepcopy(tokenizer)
    other.chat_template = (
        "{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}{% endif %}"
    )
    return other


@pytest.mark.parametrize(
    ("calls", "found"), [("x", "text"), (3, "a number"), ({"a": 1}, "an object"), (["x"], "texts")]
)
def test_calls_that_are_no_list_of_objects_are_malformed(calls, found):
    call = {"role": "assistant", "content": "", "tool_calls": calls}
    rows = [conversation(), conversation(chosen=[call])]
    with pytest.raises(RowError, match=f"turn 1: tool_calls is .*{found}") as refused:
        list(read_rows(rows))
    assert "row 2" in refused.value.where
    report = inspect(rows)
    assert (report.verdict, report.counts["malformed"]["count"]) == ("bad", 1)


@pytest.mark.parametrize("calls", [None, [], TOOLS])
def test_calls_that_are_there_or_not_are_read(calls):
    call = {"role": "assistant", "content": "So.", "tool_calls": calls}
    [row] = read_rows([conversation(chosen=[call])])
    assert ("look" in row.responses[0][0].more) == bool(calls)


def test_tools_beside_plain_text_are_counted_and_named(chat):
    row = {"prompt": "Hi", "chosen": " Yes, hello.", "rejected": " No.", "tools": TOOLS}
    summary = prepare([row], chat, max_length=99).summary
    assert summary.idle_tools.count == 1
    assert any("reach no model" in note and "row 1" in note for note in summary.notes)
    for model in (None, chat.name_or_path):
        report = inspect([row], model=model)
        assert report.counts["silent"]["idle_tools"]["count"] == 1
        assert any("reach no model" in finding.what for finding in report.findings)


def test_tools_that_the_template_does_not_write_are_counted(chat):
    other = without_tools(chat)
    assert prepare([conversation(tools=TOOLS)], other, max_length=99).summary.idle_tools.count == 1
    assert prepare([conversation()], other, max_length=99).summary.idle_tools.count == 0


def test_tools_that_the_template_writes_are_no_matter(chat):
    other = without_tools(chat)
    other.chat_template = "{{ tools }}" + other.chat_template
    assert prepare([conversation(tools=TOOLS)], other, max_length=99).summary.idle_tools.count == 0
