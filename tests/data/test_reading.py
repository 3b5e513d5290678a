"""Rows out of every layout and format."""

import csv
import gzip
import json

import datasets
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from truing.data import Message, RowReader, Source, read_rows
from truing.data.layouts import known_columns
from truing.errors import ConfigError, RowError, TruingError


def user(text):
    return {"role": "user", "content": text}


def says(text):
    return {"role": "assistant", "content": text}


def only(row, **options):
    [read] = read_rows([row], **options)
    return read


def test_a_conversational_pair(make_pair):
    row = only({"prompt": [user("Hi")], "chosen": [says("Yes")], "rejected": [says("No")]})
    assert row.prompt == (Message("user", "Hi"),)
    assert row.responses == ((Message("assistant", "Yes"),), (Message("assistant", "No"),))


def test_the_common_turns_are_the_prompt_of_two_conversations():
    start = [user("Hi"), says("Hello"), user("2+2?")]
    row = only({"chosen": [*start, says("4")], "rejected": [*start, says("5")]})
    assert [turn.content for turn in row.prompt] == ["Hi", "Hello", "2+2?"]
    assert row.responses[1] == (Message("assistant", "5"),)


def test_a_prompt_as_text_beside_whole_conversations_is_taken_from_them():
    row = only(
        {"prompt": "Hi", "chosen": [user("Hi"), says("a")], "rejected": [user("Hi"), says("b")]}
    )
    assert row.prompt == (Message("user", "Hi"),)


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        ("The cat sat.", "The cat ran.", "The cat"),
        ("Say: yes", "Say: yes please", "Say:"),
        ("a b", "a  b", "a"),
        ("abc", "abd", ""),
        ("\n\nHuman: hi\n\nAssistant: one", "\n\nHuman: hi\n\nAssistant: two", None),
    ],
)
def test_an_implicit_prompt_of_plain_text_ends_before_white_space(chosen, rejected, prompt):
    row = only({"chosen": chosen, "rejected": rejected})
    assert row.prompt == ("\n\nHuman: hi\n\nAssistant:" if prompt is None else prompt)
    assert [row.prompt + response for response in row.responses] == [chosen, rejected]


def test_scores_and_margins(make_pair):
    assert only(make_pair(1, score_chosen=3, score_rejected=1.5)).scores == (3.0, 1.5)
    assert only(make_pair(1, margin=2)).scores == (2.0, 0.0)


def test_win_probabilities(make_pair):
    assert only(make_pair(1, win_probability_chosen=0.75)).win_probability == (0.75, 0.25)
    both = make_pair(1, win_probability_chosen=0.6, win_probability_rejected=0.3)
    assert only(both).win_probability == (0.6, 0.3)
    row = {"prompt": "a", "responses": ["b", "c"], "win_probabilities": [0.5, 1]}
    assert only(row).win_probability == (0.5, 1.0)


def test_a_win_probability_above_one_is_refused(make_pair):
    with pytest.raises(RowError, match="between 0 and 1"):
        only(make_pair(1, win_probability_chosen=1.5))


def test_responses_with_scores():
    row = only({"prompt": "a", "responses": ["x", "y", "z"], "scores": [1, 3, 2]})
    assert (row.kind, row.scores) == ("kwise", (1.0, 3.0, 2.0))


def test_unpaired_rows_take_one_and_zero_for_true_and_false():
    rows = read_rows(
        [
            {"prompt": "a", "completion": "b", "label": 1},
            {"prompt": "a", "completion": "b", "label": False},
        ]
    )
    assert [row.label for row in rows] == [True, False]


def test_sharegpt_ranking_with_a_system_column():
    row = only(
        {
            "conversations": [{"from": "human", "value": "Hi"}],
            "chosen": {"from": "gpt", "value": "a"},
            "rejected": {"from": "gpt", "value": "b"},
            "system": "Be kind.",
        }
    )
    assert row.prompt == (Message("system", "Be kind."), Message("user", "Hi"))
    assert row.responses[0] == (Message("assistant", "a"),)


def test_messages_with_a_label_judge_the_last_turn():
    row = only({"messages": [user("a"), says("b"), user("c"), says("d")], "label": True})
    assert (len(row.prompt), row.responses, row.label) == (3, ((Message("assistant", "d"),),), True)


def test_parts_of_content_are_joined_and_weights_dropped():
    def turn(role, *texts):
        parts = [{"type": "text", "value": text} for text in texts]
        return {"role": role, "content": parts, "loss_weight": 1.0}

    row = only(
        {
            "chosen_messages": [turn("user", "a", "b"), turn("assistant", "c")],
            "rejected_messages": [turn("user", "a", "b"), turn("assistant", "d")],
        }
    )
    assert row.prompt == (Message("user", "ab"),)


def test_instruction_and_input_are_one_user_turn():
    row = only({"instruction": "Add.", "input": "2 2", "chosen": "4", "rejected": "5"})
    assert row.prompt == (Message("user", "Add.\n2 2"),)
    row = only({"instruction": "Add.", "input": "", "output": "4", "kto_tag": False})
    assert (row.prompt, row.label) == ((Message("user", "Add."),), False)


def test_columns_map_names_and_message_keys():
    row = {"question": [{"from": "human", "value": "Hi"}]}
    row |= {name: [{"from": "gpt", "value": text}] for name, text in (("good", "a"), ("bad", "b"))}
    names = {"prompt": "question", "chosen": "good", "rejected": "bad"}
    read = only(row, columns=names | {"role": "from", "content": "value"})
    assert read.responses[1] == (Message("assistant", "b"),)


def test_a_mapping_to_a_column_that_is_not_there_is_refused(make_pair):
    with pytest.raises(RowError, match="has no column `good`"):
        only(make_pair(1), columns={"chosen": "good"})


def test_a_mapping_of_an_unknown_name_suggests_the_nearest(make_pair):
    with pytest.raises(ConfigError, match="did you mean `chosen`"):
        only(make_pair(1), columns={"choosen": "good"})


def test_text_is_read_only_where_it_is_to_be_learned():
    assert only({"text": "Once."}, is_auxiliary=True).responses == ("Once.",)
    with pytest.raises(RowError, match="`chosen` and `rejected` are missing"):
        only({"text": "Once."})


def test_gzip_is_found_by_content(tmp_path, make_pair):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(gzip.compress(json.dumps(make_pair(3)).encode()))
    assert next(read_rows(path)).responses[0] == " It is 6."


def test_json_array_and_json_lines_both_under_the_name_json(tmp_path, make_pair):
    array, lines = tmp_path / "array.json", tmp_path / "lines.json"
    array.write_text(json.dumps([make_pair(1), make_pair(2)], indent=1))
    lines.write_text(json.dumps(make_pair(1)) + "\n" + json.dumps(make_pair(2)))
    assert [r.id for r in read_rows(array)] == [r.id for r in read_rows(lines)]


def test_parquet_and_both_kinds_of_arrow(tmp_path, make_pair):
    table = pa.Table.from_pylist(
        [make_pair(i, score_chosen=2.0, score_rejected=1.0) for i in (1, 2)]
    )
    parquet.write_table(table, tmp_path / "rows.parquet")
    with ipc.new_file(tmp_path / "file.arrow", table.schema) as writer:
        writer.write_table(table)
    with ipc.new_stream(tmp_path / "stream.arrow", table.schema) as writer:
        writer.write_table(table)
    read = {
        name: [(row.id, row.scores) for row in read_rows(tmp_path / name)]
        for name in ("rows.parquet", "file.arrow", "stream.arrow")
    }
    assert read["rows.parquet"] == read["file.arrow"] == read["stream.arrow"]
    assert len(read["rows.parquet"]) == 2


def test_a_column_that_is_null_throughout_is_not_there(tmp_path, make_pair):
    rows = [make_pair(i, score_chosen=None, score_rejected=None) for i in (1, 2)]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    assert [row.scores for row in read_rows(tmp_path / "rows.parquet")] == [None, None]


def test_a_damaged_parquet_file_is_refused_whole(tmp_path, make_pair):
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.Table.from_pylist([make_pair(1)] * 50), path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(RowError, match="cannot be read as a table"):
        list(read_rows(path))


def test_csv_reads_numbers_and_flags_from_text(tmp_path, make_pair):
    path = tmp_path / "rows.csv"
    row = make_pair(1, chosen="one,\ntwo", score_chosen="2.5", score_rejected="1")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    [read] = read_rows(path)
    assert (read.responses[0], read.scores) == ("one,\ntwo", (2.5, 1.0))


def test_a_csv_row_with_a_cell_too_many_is_named(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("prompt,completion,label\na,b,true\na,b,c,true\n")
    with pytest.raises(RowError, match=r"row 2: has not as many cells as the header"):
        list(read_rows(path))


def test_a_folder_is_read_by_name_and_its_rows_know_their_files(tmp_path, make_pair):
    for name, number in (("b.jsonl", 2), ("a.jsonl", 1)):
        (tmp_path / name).write_text(json.dumps(make_pair(number)))
    (tmp_path / "README.md").write_text("no data")
    places = [str(row.where) for row in read_rows(tmp_path)]
    assert places == [f"{tmp_path}/a.jsonl row 1", f"{tmp_path}/b.jsonl row 1"]


def test_a_folder_with_train_and_test_files_is_refused(tmp_path, make_pair):
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text(json.dumps(make_pair(1)))
    with pytest.raises(RowError, match="training rows and held-out rows"):
        list(read_rows(tmp_path))


def test_data_sets_in_memory_and_on_disk(tmp_path, make_pair):
    table = datasets.Dataset.from_list([make_pair(1), make_pair(2)])
    table.save_to_disk(str(tmp_path / "saved"))
    lazy = table.to_iterable_dataset()
    ids = [[row.id for row in read_rows(data)] for data in (table, tmp_path / "saved", lazy)]
    assert ids[0] == ids[1] == ids[2]


def test_a_name_that_is_nothing_says_both(tmp_path):
    with pytest.raises(RowError, match="no such file or folder, and no data set of that name"):
        list(read_rows("nobody/nothing"))
    with pytest.raises(RowError, match="there is no such file or folder"):
        list(read_rows(tmp_path / "rows.jsonl"))


def test_lines_are_split_at_newlines_alone(tmp_path, make_pair):
    path = tmp_path / "rows.jsonl"
    row = make_pair(1, chosen=" one\u2028two\x85three")
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert next(read_rows(path)).responses[0] == " one\u2028two\x85three"


def test_half_a_surrogate_pair_is_refused(make_pair):
    with pytest.raises(RowError, match="half a surrogate pair"):
        only(make_pair(1, chosen="\ud83d"))


def test_repeated_rows_have_one_id_and_their_own_row_id(make_pair):
    one, two = read_rows([make_pair(1), make_pair(1)])
    assert one.id == two.id
    assert one.row_id != two.row_id
    assert (one.occurrence, two.occurrence) == (0, 1)


def test_the_id_is_of_the_content_alone(make_pair, write):
    one = only(make_pair(1, score_chosen=2, score_rejected=1, extra="x"))
    two = next(read_rows(write([make_pair(1)])))
    assert one.id == two.id == -8639456347596985707
    assert one.id != only(make_pair(1, chosen=" It is 2")).id


def test_ids_tell_the_border_and_the_kind_apart():
    one = only({"prompt": "a", "chosen": "bc", "rejected": "d"})
    two = only({"prompt": "ab", "chosen": "c", "rejected": "d"})
    three = only({"prompt": "a", "responses": ["bc", "d"], "scores": [1, 0]})
    assert len({one.id, two.id, three.id}) == 3


def test_weights_take_rows_twice_or_half(write, make_pair):
    path = write([make_pair(i) for i in range(1000)])
    rows = list(read_rows([Source(path, 2), {"path": path, "weight": 0.5}]))
    assert 2400 < len(rows) < 2600
    assert len({row.row_id for row in rows}) == len(rows)
    half = [row.id for row in read_rows(Source(path, 0.5))]
    assert half == [row.id for row in read_rows(Source(path, 0.5))]


def test_a_weight_of_nothing_is_refused(write, make_pair):
    with pytest.raises(ConfigError, match="weight"):
        list(read_rows({"path": write([make_pair(1)]), "weight": 0}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
COLUMNS = st.sampled_from([*known_columns(), "other"])
TURNS = st.lists(st.dictionaries(st.sampled_from(["role", "content", "from"]), JSON, max_size=2))


@settings(max_examples=150)
@given(st.lists(st.dictionaries(COLUMNS, JSON | TURNS, max_size=5) | JSON, max_size=3))
def test_random_json_is_read_or_refused_and_never_a_crash(values):
    try:
        rows = list(read_rows(values))
    except TruingError as error:
        assert error.what
        assert error.fix
    else:
        assert len(rows) == len(values)


@settings(max_examples=100)
@given(st.binary(max_size=80))
def test_random_bytes_are_read_or_refused_and_never_a_crash(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(TruingError):
        list(read_rows(path))


def test_a_response_may_hold_turns_of_others_between_the_assistants():
    response = [says("Look it up"), {"role": "tool", "content": "42"}, says("42")]
    row = only({"prompt": [user("What?")], "chosen": response, "rejected": [says("43")]})
    assert [turn.role for turn in row.responses[0]] == ["assistant", "tool", "assistant"]


@pytest.mark.parametrize(
    ("response", "words"),
    [
        ([says("a"), {"role": "tool", "content": "b"}], "turn 2 of the response is the tool's"),
        ([user("a"), says("b")], "turn 1 of the response is the user's"),
        ([says("a"), {"role": "system", "content": "b"}, says("c")], "turn 2 .* a system turn"),
    ],
)
def test_a_response_begins_and_ends_with_the_assistant_and_has_no_system_turn(response, words):
    with pytest.raises(RowError, match=words):
        only({"prompt": [user("What?")], "chosen": response, "rejected": [says("43")]})


def test_shared_turns_of_an_agent_go_into_the_prompt_and_the_last_is_learned():
    start = [user("What?"), says("Look it up"), {"role": "tool", "content": "42"}]
    row = only({"chosen": [*start, says("42")], "rejected": [*start, says("43")]})
    assert len(row.prompt) == 3
    assert row.responses[0] == (Message("assistant", "42"),)


def test_null_fields_that_a_table_puts_into_turns_count_as_not_there(tmp_path):
    import datasets
    from pyarrow import Table, parquet

    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "look", "id": "1"}]}
    rows = [
        {"prompt": [user("a")], "chosen": [call], "rejected": [says("b")]},
        {"prompt": [user("c")], "chosen": [says("d")], "rejected": [says("e")]},
    ]
    parquet.write_table(Table.from_pylist(rows), tmp_path / "rows.parquet")
    expected = list(read_rows(rows))
    for data in (tmp_path / "rows.parquet", datasets.Dataset.from_list(rows)):
        found = list(read_rows(data))
        assert [row.id for row in found] == [row.id for row in expected]
        assert found[1].responses[0] == (Message("assistant", "d"),)


@pytest.mark.parametrize("tools", ["no JSON", "3", {"name": "look"}])
def test_tools_that_are_no_list_are_named(make_pair, tools):
    with pytest.raises(RowError, match="`tools`: is no list of tools"):
        list(read_rows([make_pair(1, tools=tools)]))


def test_tools_as_json_text_are_the_same_tools(make_pair):
    both = [[{"name": "look"}], '[{"name": "look"}]']
    one, other = (next(iter(read_rows([make_pair(1, tools=tools)]))) for tools in both)
    assert one.id == other.id
    assert next(iter(read_rows([make_pair(1, tools=" ")]))).tools == ""


@pytest.mark.parametrize("offers_skip", [False, True])
@pytest.mark.parametrize("number", [1, 2])
def test_leaving_bad_rows_out_is_a_remedy_only_where_there_is_a_way_to(offers_skip, number):
    rows = [{"prompt": "p", "chosen": 3, "rejected": "b"}] * number
    with pytest.raises(RowError) as caught:
        list(RowReader(rows, offers_skip=offers_skip))
    assert ("--skip-bad" in caught.value.fix) == offers_skip
