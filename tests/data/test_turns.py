"""Responses of several turns: the assistant's carry loss, those of others are context."""

import copy

import numpy as np
import pytest

from truing.core.needs import Needs
from truing.data import Tokeniser, mismatched_responses, prepare, prepare_auxiliary, read_rows
from truing.data.where import Fault
from truing.errors import ConfigError

CHAT = ["smollm2-chatml", "mistral-v1", "tok512-chatml"]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% for call in m['tool_calls'] or [] %}CALL {{ call['name'] }}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Thoughts, here empty ones, are written for the last turn alone.
THINKING = (
    "{% set ns = namespace(asked=0) %}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{% set ns.asked = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last and loop.index0 > ns.asked %}"
    "<think>\n\n</think>\n{% endif %}{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKED = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def chat(*texts):
    """The assistant first, then the user and the assistant by turns."""
    return [turn(("assistant", "user")[i % 2], text) for i, text in enumerate(texts)]


ROW = {
    "prompt": [turn("user", "What is 2 plus 2?")],
    "chosen": chat("It is 4.", "Are you sure?", "Yes, I am."),
    "rejected": chat("It is 5."),
}


def with_template(tokenizer, template):
    changed = copy.copy(tokenizer)
    changed.chat_template = template
    return changed


def tokenised(tokenizer, row, turns="all"):
    [found] = Tokeniser(tokenizer, turns).rows(list(read_rows([row])))
    return found


def learned(tokenizer, row, turns="all", number=0):
    """The learned tokens of a response as texts, one a run of tokens."""
    found = tokenised(tokenizer, row, turns)
    ids, mask = found.responses[number], found.learned[number]
    borders = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return [tokenizer.decode(ids[a:b]) for a, b in borders.reshape(-1, 2)]


@pytest.mark.parametrize("name", CHAT)
def test_every_turn_of_the_assistant_is_learned_with_its_end(name, tokenizer):
    k = tokenizer(name)
    end = k.eos_token
    texts = [text.strip() for text in learned(k, ROW)]
    assert texts == [f"It is 4.{end}", f"Yes, I am.{end}"]


@pytest.mark.parametrize("name", CHAT)
def test_or_its_last_turn_alone(name, tokenizer):
    k = tokenizer(name)
    assert [text.strip() for text in learned(k, ROW, "last")] == [f"Yes, I am.{k.eos_token}"]


@pytest.mark.parametrize("name", CHAT)
def test_prompt_and_response_together_are_the_whole_conversation(name, tokenizer):
    k = tokenizer(name)
    found = tokenised(k, ROW)
    whole = k.apply_chat_template([*ROW["prompt"], *ROW["chosen"]], return_dict=False)
    ids = [*found.prompt, *found.responses[0]]
    assert ids == whole[: len(ids)]


@pytest.mark.parametrize("name", CHAT)
def test_a_turn_is_learned_as_if_it_were_the_last_response_to_all_before_it(name, tokenizer):
    k = tokenizer(name)
    found = tokenised(k, ROW)
    alone = {
        "prompt": [*ROW["prompt"], *ROW["chosen"][:2]],
        "chosen": ROW["chosen"][2:],
        "rejected": chat("No."),
    }
    last = tokenised(k, alone)
    assert [*found.prompt, *found.responses[0]] == [*last.prompt, *last.responses[0]]
    size = len(last.responses[0])
    assert found.learned[0][-size:].all()
    assert not found.learned[0][-size - 1]


def test_a_response_of_one_turn_is_learned_whole(tokenizer):
    k = tokenizer("smollm2-chatml")
    assert tokenised(k, ROW).learned[1].all()
    single = ROW | {"chosen": chat("It is 4.")}
    assert tokenised(k, single).learned is None


def test_what_a_tool_says_is_context_and_the_call_is_learned(tokenizer):
    k = with_template(tokenizer("smollm2-chatml"), CHATML)
    calls = [turn("assistant", "", tool_calls=[{"name": "look"}]), turn("tool", "42")]
    row = ROW | {"chosen": [*calls, turn("assistant", "It is 42.")]}
    assert learned(k, row) == ["CALL look<|im_end|>", "It is 42.<|im_end|>"]


def test_a_template_that_writes_earlier_turns_without_thoughts(tokenizer):
    k = with_template(tokenizer("smollm2-chatml"), THINKING)
    assert learned(k, ROW) == [
        "It is 4.<|im_end|>",
        "<think>\n\n</think>\nYes, I am.<|im_end|>",
    ]


def test_the_end_token_in_the_words_of_a_turn_does_not_end_it(tokenizer):
    k = with_template(tokenizer("smollm2-chatml"), THINKING)
    row = ROW | {"chosen": chat("It<|im_end|> is 4.", "Sure?", "Yes.")}
    assert learned(k, row)[0] == "It<|im_end|> is 4.<|im_end|>"


@pytest.mark.parametrize("turns", ["all", "last"])
def test_the_end_of_a_turn_is_no_end_token_inside_a_response(tokenizer, turns):
    k = with_template(tokenizer("smollm2-chatml"), CHATML)
    assert tokenised(k, ROW, turns).num_ends_inside == 0
    odd = ROW | {"chosen": chat("It is<|im_end|> 4.", "Sure?", "Yes.")}
    assert tokenised(k, odd, turns).num_ends_inside == (turns == "all")


def test_a_template_may_mark_itself_what_is_generated(tokenizer):
    k = with_template(tokenizer("smollm2-chatml"), MARKED)
    assert learned(k, ROW) == ["It is 4.<|im_end|>", "Yes, I am.<|im_end|>"]
    assert learned(k, ROW, "last") == ["Yes, I am.<|im_end|>"]


def test_a_template_whose_turns_cannot_be_found_is_named(tokenizer):
    k = with_template(
        tokenizer("smollm2-chatml"),
        "{% for m in messages %}{% if loop.last or m['role'] == 'user' %}{{ m['content'] }}"
        "{% endif %}<|im_end|>{% endfor %}",
    )
    found = tokenised(k, ROW)
    assert isinstance(found, Fault)
    assert "turn 1 of the response" in found.what
    assert learned(k, ROW, "last") == ["Yes, I am.<|im_end|>"]


def test_masks_come_back_from_the_cache(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("TRUING_CACHE", str(tmp_path))
    k = tokenizer("smollm2-chatml")
    rows = [
        ROW | {"rejected": chat(f"It is {i}. " * 1000, "Sure?", "Yes.") if i % 2 else chat("No.")}
        for i in range(120)
    ]
    first = prepare(rows, k, max_length=9000)
    again = prepare(rows, k, max_length=9000)
    assert list((tmp_path / "tokens").iterdir())
    assert again.summary == first.summary
    for one, other in zip(first.examples, again.examples, strict=True):
        assert all(map(np.array_equal, one.learned, other.learned))
    last = prepare(rows, k, max_length=9000, loss_turns="last")
    assert last.examples[1].learned[1].sum() < first.examples[1].learned[1].sum()


def test_the_summary_counts_rows_and_tokens_without_loss(tokenizer):
    k = tokenizer("smollm2-chatml")
    prepared = prepare([ROW, ROW | {"chosen": chat("It is 4.")}], k, max_length=200)
    [example, plain] = prepared.examples
    assert plain.learned is None
    assert prepared.summary.several_turns.count == 1
    assert prepared.summary.context_tokens == int((~example.learned[0]).sum())
    assert "responses of several turns; only the assistant's are learned" in "".join(
        prepared.summary.notes
    )


def test_a_response_cut_before_the_learned_turn_is_left_out(tokenizer):
    k = tokenizer("smollm2-chatml")
    prompt = len(tokenised(k, ROW).prompt)
    whole = prepare([ROW], k, max_length=prompt + 12, truncation="cut")
    assert len(whole.examples[0].learned[0]) == 12
    other = ROW | {"chosen": chat("It is 4.")}
    last = prepare([ROW, other], k, max_length=prompt + 12, truncation="cut", loss_turns="last")
    assert last.summary.left_out["too_long"].count == 1


def test_a_partner_brings_its_own_mask(tokenizer):
    k = tokenizer("smollm2-chatml")
    rows = [
        {"prompt": [turn("user", f"{i}?")], "completion": chat("a", "b", str(i)), "label": i == 0}
        for i in range(2)
    ]
    examples = prepare(rows, k, max_length=200).examples
    (ids, mask), _ = mismatched_responses(examples, seed=0, max_length=200)
    assert np.array_equal(ids, examples[1].responses[0])
    assert np.array_equal(mask, examples[1].learned[0])


def test_of_an_auxiliary_conversation_every_turn_of_the_assistant_is_learned(tokenizer):
    k = tokenizer("smollm2-chatml")
    talk = {"messages": [turn("user", "Hi"), *chat("Hello.", "How are you?", "Fine.")]}
    needs = Needs(auxiliary=frozenset({"sft"}))
    for turns, words in (("all", "Hello.<|im_end|>Fine.<|im_end|>"), ("last", "Fine.<|im_end|>")):
        prepared = prepare_auxiliary({"sft": [talk]}, k, needs, max_length=200, loss_turns=turns)
        [example] = prepared["sft"].examples
        assert k.decode(example.responses[0][example.learned[0]]) == words


def test_a_choice_of_turns_that_there_is_not_is_refused(tokenizer):
    with pytest.raises(ConfigError, match="loss_turns='first'"):
        prepare([ROW], tokenizer("smollm2-chatml"), max_length=200, loss_turns="first")
