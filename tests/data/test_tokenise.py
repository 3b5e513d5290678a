"""Prompts and responses as token ids: the border, the end token, the begin token, templates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truing.data import Tokeniser, prepare, read_rows
from truing.data.implicit import shared_start
from truing.errors import ModelError, RowError

PLAIN = ["gpt2", "smollm2-chatml", "mistral-v1", "tok512-chatml", "stories260K"]
CHAT = ["smollm2-chatml", "mistral-v1", "tok512-chatml"]


def tokenised(tokenizer, *rows):
    return Tokeniser(tokenizer).rows(list(read_rows(list(rows))))


def conversation(*turns, chosen="It is 4.", rejected="It is 5."):
    return {
        "prompt": [{"role": role, "content": text} for role, text in turns],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
    }


@pytest.mark.parametrize("name", PLAIN)
def test_prompt_and_response_together_are_the_whole_text_tokenised(name, tokenizer, make_pair):
    k = tokenizer(name)
    [row] = tokenised(k, make_pair(2))
    whole = k("What is 2 plus 2? It is 4.").input_ids
    assert [*row.prompt, *row.responses[0]] == [*whole, k.eos_token_id]


@pytest.mark.parametrize("name", ["mistral-v1", "tok512-chatml", "stories260K"])
def test_the_begin_token_is_there_once(name, tokenizer, make_pair):
    k = tokenizer(name)
    [row] = tokenised(k, make_pair(2))
    assert row.prompt.tolist().count(k.bos_token_id) == 1
    assert row.prompt[0] == k.bos_token_id


def test_a_begin_token_of_the_template_is_not_doubled(tokenizer):
    k = tokenizer("mistral-v1")
    [row] = tokenised(k, conversation(("user", "What is 2 plus 2?")))
    assert row.prompt.tolist().count(k.bos_token_id) == 1
    assert k.decode(row.prompt) == "<s> [INST] What is 2 plus 2? [/INST]"


def test_a_begin_token_in_plain_text_is_not_doubled(tokenizer, make_pair):
    k = tokenizer("mistral-v1")
    [row] = tokenised(k, make_pair(2, prompt="<s>What is it?"))
    assert row.prompt.tolist().count(k.bos_token_id) == 1


@pytest.mark.parametrize("name", CHAT)
def test_the_end_token_ends_a_turn_once(name, tokenizer):
    k = tokenizer(name)
    [row] = tokenised(k, conversation(("user", "What is 2 plus 2?")))
    for response in row.responses:
        assert response[-1] == k.eos_token_id
        assert response.tolist().count(k.eos_token_id) == 1


def test_an_end_token_in_the_text_is_not_doubled(tokenizer, make_pair):
    k = tokenizer("gpt2")
    [row] = tokenised(k, make_pair(2, chosen=" It is 4.<|endoftext|>"))
    assert row.responses[0].tolist().count(k.eos_token_id) == 1
    assert row.num_ends_inside == 0


def test_the_response_follows_the_opening_of_the_assistants_turn(tokenizer):
    k = tokenizer("smollm2-chatml")
    [row] = tokenised(k, conversation(("user", "What is 2 plus 2?")))
    assert k.decode(row.prompt).endswith("<|im_start|>assistant\n")
    assert k.decode(row.responses[0]) == "It is 4.<|im_end|>"


def test_tokens_that_join_prompt_and_response_belong_to_the_response(tokenizer):
    k = tokenizer("gpt2")
    [row] = tokenised(k, {"prompt": "A fun", "chosen": "ction", "rejected": "eral"})
    assert k.decode(row.prompt) == "A"
    assert [k.decode(r[:-1]) for r in row.responses] == [" function", " funeral"]
    assert row.moved == 1


def test_the_prompt_is_common_to_all_responses_of_the_row(tokenizer):
    k = tokenizer("gpt2")
    row = {"prompt": "A fun", "responses": [" day", "ction", " time"], "scores": [1, 2, 3]}
    [row] = tokenised(k, row)
    assert k.decode(row.prompt) == "A"
    assert k.decode(row.responses[0][:-1]) == " fun day"


def test_the_common_start_of_the_responses_is_not_taken_into_the_prompt(tokenizer, make_pair):
    k = tokenizer("gpt2")
    [row] = tokenised(k, make_pair(2))
    assert k.decode(row.prompt) == "What is 2 plus 2?"


def test_an_empty_prompt_without_a_begin_token_gets_the_end_token_first(tokenizer, make_pair):
    k = tokenizer("gpt2")
    prepared = prepare([make_pair(2, prompt="")], k, max_length=50)
    assert prepared.examples[0].prompt.tolist() == [k.eos_token_id]
    assert "the end token is put first" in prepared.summary.notes[0]


def test_an_empty_prompt_with_a_begin_token_is_that_token(tokenizer, make_pair):
    k = tokenizer("stories260K")
    prepared = prepare([make_pair(2, prompt="")], k, max_length=50)
    assert prepared.examples[0].prompt.tolist() == [k.bos_token_id]
    assert prepared.summary.notes == ()


def test_several_turns_and_a_system_turn_stand_in_the_prompt(tokenizer):
    k = tokenizer("tok512-chatml")
    turns = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "2 + 2?")]
    [row] = tokenised(k, conversation(*turns))
    text = k.decode(row.prompt)
    assert [text.index(words) for words in ("Be brief", "Hi", "Hello", "2 + 2")] == sorted(
        text.index(words) for words in ("Be brief", "Hi", "Hello", "2 + 2")
    )
    assert k.decode(row.responses[1]) == "It is 5.<|im_end|>"


def test_a_tool_call_reaches_the_template(tokenizer):
    k = with_template(
        tokenizer("smollm2-chatml"),
        "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }}"
        "{% if m['tool_calls'] %}CALL {{ m['tool_calls'][0]['name'] }}{% endif %}<|im_end|>"
        "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}",
    )
    row = conversation(("user", "Weather?"))
    row["chosen"] = [{"role": "assistant", "content": None, "tool_calls": [{"name": "look"}]}]
    [row] = tokenised(k, row)
    assert k.decode(row.responses[0]) == "CALL look<|im_end|>"


def test_tools_of_a_row_reach_the_template(tokenizer):
    k = with_template(
        tokenizer("smollm2-chatml"),
        "{% if tools %}TOOLS {{ tools[0]['name'] }} {% endif %}{% for m in messages %}"
        "{{ m['content'] }}<|im_end|>{% endfor %}",
    )
    [row] = tokenised(k, conversation(("user", "Hi")) | {"tools": [{"name": "look"}]})
    assert k.decode(row.prompt).startswith("TOOLS look Hi")


def test_a_template_that_drops_white_space_still_ends_with_one_end_token(tokenizer):
    k = with_template(
        tokenizer("smollm2-chatml"),
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    )
    [row] = tokenised(k, conversation(("user", "Hi"), chosen="  Yes.  "))
    assert k.decode(row.responses[0]) == "Yes.<|im_end|>"


def test_a_template_without_an_end_token_gets_one(tokenizer):
    k = with_template(
        tokenizer("smollm2-chatml"),
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}",
    )
    [row] = tokenised(k, conversation(("user", "Hi"), chosen="Yes."))
    assert k.decode(row.responses[0]) == " Yes.\n<|im_end|>"


def test_a_template_that_opens_with_thinking_gives_the_difference_to_the_response(tokenizer):
    k = with_template(
        tokenizer("smollm2-chatml"),
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n[think]\n{% endif %}",
    )
    [row] = tokenised(k, conversation(("user", "Hi"), chosen="Yes."))
    assert k.decode(row.prompt).endswith("assistant\n")
    assert k.decode(row.responses[0]) == "Yes.<|im_end|>"
    assert row.moved > 0


def test_a_template_that_changes_earlier_text_is_an_error_with_the_row(tokenizer):
    k = with_template(
        tokenizer("smollm2-chatml"),
        "{{ messages | length }} turns {% for m in messages %}{{ m['content'] }}<|im_end|>"
        "{% endfor %}{% if add_generation_prompt %}>{% endif %}",
    )
    with pytest.raises(RowError, match="row 1: the chat template changes text before the last"):
        prepare([conversation(("user", "Hi"))], k, max_length=50)


def test_a_tokenizer_without_an_end_token_is_refused(tokenizer, make_pair):
    import copy

    k = copy.deepcopy(tokenizer("gpt2"))
    k.eos_token = None
    with pytest.raises(ModelError, match="no end token"):
        prepare([make_pair(2)], k, max_length=50)


def test_truncation_that_someone_set_on_the_tokenizer_changes_nothing(tokenizer, make_pair):
    import copy

    k = copy.deepcopy(tokenizer("gpt2"))
    k.backend_tokenizer.enable_truncation(3)
    [row] = tokenised(k, make_pair(2))
    assert len(row.prompt) == 6


def test_a_missing_padding_token_is_no_fault(tokenizer, make_pair):
    assert tokenizer("gpt2").pad_token is None
    assert prepare([make_pair(2)], tokenizer("gpt2"), max_length=50).summary.rows == 1


@pytest.mark.parametrize("name", PLAIN)
def test_any_text_comes_back_from_its_tokens(name, tokenizer):
    k = tokenizer(name)
    tokeniser = Tokeniser(k)
    begin = k("").input_ids

    @settings(max_examples=50)
    @given(st.text(), st.text(min_size=1), st.text(min_size=1))
    def comes_back(prompt, chosen, rejected):
        row = next(read_rows([{"prompt": prompt, "chosen": chosen, "rejected": rejected}]))
        [done] = tokeniser.rows([row])
        skipped = 1 if done.end_was_put_first else len(begin)
        for text, response in zip((chosen, rejected), done.responses, strict=True):
            ids = [*done.prompt, *response][skipped:-1]
            assert k.decode(ids) == k.decode(k(prompt + text, add_special_tokens=False).input_ids)

    comes_back()


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_the_common_length_is_the_longest_shared_start(one, other):
    n = shared_start(one, other)
    assert one[:n] == other[:n]
    assert n == min(len(one), len(other)) or one[n] != other[n]


def test_the_cache_gives_the_same_tokens_again(tokenizer, make_pair, tmp_path, monkeypatch):
    monkeypatch.setenv("TRUING_CACHE", str(tmp_path))
    rows = [make_pair(i, prompt=f"Number {i}. " * 60) for i in range(700)]
    first = prepare(rows, tokenizer("gpt2"), max_length=1000)
    files = list((tmp_path / "tokens").iterdir())
    again = prepare(rows, tokenizer("gpt2"), max_length=1000)
    assert len(files) == 1
    assert again.summary == first.summary
    for one, other in zip(first.examples, again.examples, strict=True):
        assert np.array_equal(one.prompt, other.prompt)
        assert all(map(np.array_equal, one.responses, other.responses))


def test_control_texts_read_as_words_have_tokens_of_their_own_in_the_cache(
    tokenizer, make_pair, tmp_path, monkeypatch
):
    monkeypatch.setenv("TRUING_CACHE", str(tmp_path))
    rows = [make_pair(i, prompt=f"Number {i} <|endoftext|>. " * 40) for i in range(700)]
    before = prepare(rows, tokenizer("gpt2"), max_length=2000).examples[0]
    words = tokenizer("gpt2")
    words.split_special_tokens = True
    after = prepare(rows, words, max_length=2000).examples[0]
    end = words.eos_token_id
    assert [int((one.prompt == end).sum()) for one in (before, after)] == [40, 0]


def test_a_damaged_cache_file_is_computed_again(tokenizer, make_pair, tmp_path, monkeypatch):
    monkeypatch.setenv("TRUING_CACHE", str(tmp_path))
    rows = [make_pair(i, prompt=f"Number {i}. " * 60) for i in range(700)]
    first = prepare(rows, tokenizer("gpt2"), max_length=1000)
    [file] = (tmp_path / "tokens").iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    again = prepare(rows, tokenizer("gpt2"), max_length=1000)
    assert np.array_equal(first.examples[350].prompt, again.examples[350].prompt)


def test_tokens_that_cannot_be_kept_are_no_fault(tokenizer, make_pair, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("where the folder would be")
    monkeypatch.setenv("TRUING_CACHE", str(tmp_path / "file"))
    rows = [make_pair(i, prompt=f"Number {i}. " * 60) for i in range(700)]
    assert len(prepare(rows, tokenizer("gpt2"), max_length=1000).examples) == 700


def with_template(tokenizer, template):
    import copy

    changed = copy.copy(tokenizer)
    changed.chat_template = template
    return changed
