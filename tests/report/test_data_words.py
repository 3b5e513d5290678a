from truing.report.data_words import in_words


def test_rows_that_were_met_are_counted_and_named():
    found = in_words({"ties": {"count": 5, "first": ["a.jsonl row 3", "a.jsonl row 9"]}})
    assert found == {"equal scores": ["5 rows", "a.jsonl row 3", "a.jsonl row 9", "and 3 more"]}


def test_what_was_never_met_is_told_in_one_line():
    nothing = {"count": 0, "first": []}
    found = in_words(
        {"train": {"rows": 7, "ties": nothing, "shortened": nothing, "lost_tokens": 0}}
    )
    assert found == {
        "Trained on": {
            "rows used": 7,
            "never met": "equal scores · cut to the limit · tokens cut away",
        }
    }


def test_unknown_names_stay_and_empty_values_go():
    assert in_words({"new": 1, "notes": [], "evaluation": None}) == {"new": 1}
