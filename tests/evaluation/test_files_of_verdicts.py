"""Verdict files through the commands: who wins, and how good the judge is."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from truing.cli.app import app
from truing.errors import ConfigError, RowError
from truing.jobs.judge_quality import judge
from truing.jobs.judging import judged_models


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def verdicts(models, prompts=60, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for place, model in enumerate(models):
        for prompt in range(prompts):
            own, other = (int(n) for n in rng.integers(20, 90, 2))
            chance = 1 / (1 + np.exp(-(0.5 * place - 0.5 + 0.03 * (own - other))))
            wins = float(rng.random() < chance)
            row = {"prompt": f"p{prompt}", "length_first": own, "length_second": other}
            rows.append({**row, "first": model, "second": "base", "preference": wins})
            back = {"prompt": f"p{prompt}", "length_first": other, "length_second": own}
            rows.append({**back, "first": "base", "second": model, "preference": 1 - wins})
    return rows


def test_models_are_ranked_against_the_baseline_with_length_taken_out(tmp_path):
    found = judged_models(write(tmp_path / "v.jsonl", verdicts(["weak", "even", "strong"])), "base")
    assert [one["model"] for one in found["models"]] == ["strong", "even", "weak"]
    assert all(one["both_orders"] == 60 for one in found["models"])
    assert all(one["length_controlled_win_rate"] is not None for one in found["models"])
    assert found["ranking"]["anchor"] == "base"
    assert any("light form" in note for note in found["notes"])


def test_with_five_models_the_difficulty_of_prompts_is_estimated_and_that_is_said(tmp_path):
    names = ["a", "b", "c", "d", "e"]
    found = judged_models(write(tmp_path / "v.jsonl", verdicts(names, prompts=40)), "base")
    assert any("is estimated from the verdicts on 5 models" in note for note in found["notes"])
    assert found["models"][0]["psi_difficulty"] is not None


def test_the_full_form_reads_a_difficulty_column(tmp_path):
    rows = [{**row, "difficulty": float(row["prompt"][1:]) / 30 - 1} for row in verdicts(["a"])]
    found = judged_models(write(tmp_path / "v.jsonl", rows), "base")
    assert found["models"][0]["psi_difficulty"] is not None
    assert not any("light form" in note for note in found["notes"])


def test_constant_lengths_leave_the_win_rate_and_say_why_no_more(tmp_path):
    rows = [{**row, "length_first": 9, "length_second": 9} for row in verdicts(["a"])]
    found = judged_models(write(tmp_path / "v.jsonl", rows), "base")["models"][0]
    assert 0 < found["win_rate"] < 1
    assert found["length_controlled_win_rate"] is None
    assert any("undefined" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "p", "first": "a", "second": "b"}, "`preference` is None"),
        ({"prompt": "p", "first": "a", "preference": 1}, "has no `second`"),
        ({"prompt": "p", "first": "a", "second": "b", "preference": "x"}, "no number"),
        ({"prompt": "p", "first": "a", "second": "b", "preference": 3}, "outside 0 to 1"),
    ],
)
def test_a_bad_verdict_is_named(tmp_path, row, words):
    with pytest.raises(RowError, match=words):
        judged_models(write(tmp_path / "v.jsonl", [row]))


def test_a_baseline_that_nobody_judged_is_named(tmp_path):
    with pytest.raises(ConfigError, match="is in no verdict"):
        judged_models(write(tmp_path / "v.jsonl", verdicts(["a"])), "nobody")


@pytest.mark.parametrize("name", ["llmbar/test.jsonl", "pandalm/test.jsonl"])
def test_a_score_is_measured_as_a_judge_of_real_pairs(shared, name):
    found = judge(shared / "data" / "preferences" / name, "length()")
    # The rule itself: right where the longer one is, wrong elsewhere.
    assert found["accuracy"] == pytest.approx(found["longer_wins"])
    assert found["accuracy_longer"] == 1.0
    assert found["accuracy_shorter"] == 0.0
    assert found["consistency"] == 1.0
    if "llmbar" in name:
        assert found["accuracy"] < 0.35


def test_verdicts_in_columns_give_position_bias(tmp_path):
    rows = [
        {"prompt": str(i), "chosen": "a" * (i % 7 + 1), "rejected": "bbb", "judge": 1.0,
         "judge_swapped": float(i % 3 == 0)}
        for i in range(60)
    ]  # fmt: skip
    found = judge(write(tmp_path / "j.jsonl", rows))
    assert found["first_place"] == pytest.approx(0.5 * (1 + 1 - 1 / 3))
    assert any("position bias" in note for note in found["notes"])


def turns(text):
    return [{"role": "assistant", "content": text}]


def test_conversations_are_judged_as_texts_are(tmp_path):
    question = [{"role": "user", "content": "How?"}]
    texts = [("a" * (i % 7 + 1), "bbb") for i in range(30)]
    plain = [{"prompt": "How?", "chosen": a, "rejected": b, "judge": 1.0} for a, b in texts]
    spoken = [
        {"prompt": question, "chosen": turns(a), "rejected": turns(b), "judge": 1.0}
        for a, b in texts
    ]
    inside = [
        {"chosen": question + turns(a), "rejected": question + turns(b), "judge": 1.0}
        for a, b in texts
    ]
    files = {"plain": plain, "spoken": spoken, "inside": inside}
    found = [judge(write(tmp_path / f"{name}.jsonl", rows)) for name, rows in files.items()]
    assert found[0] == found[1] == found[2]
    by_length = judge(tmp_path / "spoken.jsonl", "length()")
    assert by_length["accuracy"] == by_length["longer_wins"]


def test_what_is_no_pair_is_named_with_its_row(tmp_path):
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "judge": 1}
    with pytest.raises(RowError, match="row 2, column `chosen`: is a number") as caught:
        judge(write(tmp_path / "j.jsonl", [row, {**row, "chosen": 3}]))
    assert "--skip-bad" not in str(caught.value)
    sets = {"prompt": "p", "responses": ["a", "b"], "scores": [1, 0], "judge": 1}
    with pytest.raises(RowError, match="is no pair but kwise"):
        judge(write(tmp_path / "k.jsonl", [sets]))


def with_votes(*votes):
    return [
        {"prompt": str(i), "chosen": "a", "rejected": "bb", "judge": 1, "votes": one}
        for i, one in enumerate(votes)
    ]


def test_lists_of_votes_count_as_shares_of_the_commonest_label(tmp_path):
    found = judge(write(tmp_path / "l.jsonl", with_votes([2, 2, 2], [1, 2, 1], [1, 0, 1])))
    assert found["agreement_with_votes"] == pytest.approx((1 + 2 / 3 + 2.5 / 3) / 3)
    assert any("lists of labels" in note for note in found["notes"])
    shares = judge(write(tmp_path / "s.jsonl", with_votes(1, 2 / 3, 2.5 / 3)))
    assert shares["agreement_with_votes"] == pytest.approx(found["agreement_with_votes"])


@pytest.mark.parametrize("votes", [[1, 2], [0, 0], [], ["a"], "most", None, 3])
def test_votes_that_say_nothing_of_chosen_are_refused(tmp_path, votes):
    with pytest.raises(RowError, match="votes"):
        judge(write(tmp_path / "l.jsonl", with_votes([1, 1, 2], votes)))


def test_votes_in_some_rows_only_are_refused(tmp_path):
    rows = with_votes(1.0, 0.5)
    del rows[1]["votes"]
    with pytest.raises(RowError, match="has no `votes`, which other rows have"):
        judge(write(tmp_path / "v.jsonl", rows))


def test_the_votes_of_real_people_are_used(shared):
    found = judge(shared / "data" / "preferences" / "pandalm" / "test.jsonl", "length()")
    assert 0 < found["agreement_with_votes"] < 1
    rows = (shared / "data" / "preferences" / "pandalm" / "test.jsonl").read_text().split("\n")
    shares = []
    for row in map(json.loads, filter(None, rows)):
        for_chosen = row["score_chosen"] + 0.5 * (3 - row["score_chosen"] - row["score_rejected"])
        right = 0.5 * (1 + np.sign(len(row["chosen"]) - len(row["rejected"])))
        shares.append(right * for_chosen / 3 + (1 - right) * (1 - for_chosen / 3))
    assert found["agreement_with_votes"] == pytest.approx(np.mean(shares))


def test_pairs_without_verdicts_are_refused(tmp_path):
    row = {"prompt": "p", "chosen": "a", "rejected": "b"}
    with pytest.raises(RowError, match="no verdict"):
        judge(write(tmp_path / "j.jsonl", [row]))
    with pytest.raises(RowError, match="which other rows have"):
        judge(write(tmp_path / "k.jsonl", [{**row, "judge": 1}, row]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "long"])
def test_a_length_that_is_no_number_is_named_with_its_row(tmp_path, value):
    rows = verdicts(["a"])
    rows[2]["length_first"] = value
    with pytest.raises(RowError, match="length_first"):
        judged_models(write(tmp_path / "v.jsonl", rows), "base")


@pytest.mark.parametrize("name", ["length_first", "length_second", "difficulty"])
def test_a_column_that_only_some_rows_have_is_refused(tmp_path, name):
    rows = [{**row, "difficulty": 0.5} for row in verdicts(["a"])]
    del rows[3][name]
    with pytest.raises(RowError, match=f"has no `{name}`"):
        judged_models(write(tmp_path / "v.jsonl", rows), "base")


def test_a_model_that_never_met_the_baseline_is_named_and_ranked(tmp_path):
    rows = verdicts(["a"]) + [
        {**row, **{side: "a" for side in ("first", "second") if row[side] == "base"}}
        for row in verdicts(["b"], seed=1)
    ]
    found = judged_models(write(tmp_path / "v.jsonl", rows), "base")
    assert [one["model"] for one in found["models"]] == ["a"]
    assert any("b never stood against base" in note for note in found["notes"])
    assert {one["model"] for one in found["ranking"]["models"]} == {"base", "a", "b"}


def test_all_models_stand_head_to_head(tmp_path):
    rows = [
        {"prompt": i, "first": one, "second": two, "preference": float(i % 3 > 0)}
        for i in range(9)
        for one, two in (("a", "base"), ("b", "base"), ("a", "b"))
    ]
    path = write(tmp_path / "v.jsonl", rows)
    found = judged_models(path, "base")["head_to_head"]
    assert {(one["model"], one["baseline"]) for one in found} == {
        ("a", "base"), ("base", "b"), ("a", "b")
    }  # fmt: skip
    shown = CliRunner().invoke(app, ["compare", "--judgements", str(path), "--baseline", "base"])
    lines = [line.split("\t") for line in shown.stdout.splitlines()]
    assert ["wins of … against …", "base", "a", "b"] in lines
    assert ["a", "66.7%", "", "66.7%"] in lines
    assert ["b", "66.7%", "33.3%", ""] in lines
    assert ["model", "rating", "from", "to"] in lines


def test_two_difficulties_of_one_prompt_are_refused(tmp_path):
    rows = [{**row, "difficulty": 0.5} for row in verdicts(["a"])]
    rows[1]["difficulty"] = 0.7
    with pytest.raises(RowError, match=r"row 2.*`difficulty` is 0\.7, and 0\.5 in an"):
        judged_models(write(tmp_path / "v.jsonl", rows), "base")
