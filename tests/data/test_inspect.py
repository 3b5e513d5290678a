"""What `inspect` says of real and of made rows."""

import json

import numpy as np
import pytest
from scipy import stats

from truing.core import Needs
from truing.errors import ConfigError
from truing.jobs.inspect import InspectReport, inspect, write_html
from truing.jobs.inspect_measures import histogram, label_bias, length_bias, pairs_of, spread


def word_row(number, chosen, rejected, **more):
    return {"prompt": f"Say {number}:", "chosen": " a" * chosen, "rejected": " b" * rejected} | more


@pytest.fixture(scope="module")
def biased():
    """100 pairs of different prompts, chosen longer in 80 of them."""
    return [word_row(i, *((9, 5) if i % 5 else (5, 9))) for i in range(100)]


def words(report):
    return "\n".join(finding.what for finding in report.findings)


def test_length_bias_is_counted_and_has_an_interval(biased):
    bias = inspect(biased).bias
    assert (bias["longer"], bias["equal"], bias["shorter"]) == (0.8, 0.0, 0.2)
    assert bias["longer_wins"] == 0.8
    # The normal approximation: 1.96 times the root of 0.8 * 0.2 / 100.
    assert bias["longer_wins_low"] == pytest.approx(0.8 - 0.0784, abs=0.015)
    assert bias["longer_wins_high"] == pytest.approx(0.8 + 0.0784, abs=0.015)
    assert bias["difference"] == pytest.approx(0.8 * 8 - 0.2 * 8)


def test_a_strong_length_bias_is_worth_a_look_and_fails_when_strict(biased):
    report = inspect(biased)
    assert (report.verdict, report.exit_code) == ("look", 0)
    assert "the rule “the longer response is chosen” is right on 80.0%" in words(report)
    assert inspect(biased, strict=True).exit_code == 1


def test_no_bias_is_a_note(biased):
    rows = [word_row(i, *((9, 5) if i % 2 else (5, 9))) for i in range(400)]
    report = inspect(rows, strict=True)
    assert (report.verdict, report.exit_code) == ("good", 0)


def test_equal_lengths_count_one_half():
    bias = inspect([word_row(i, 5 + i % 2, 5) for i in range(10)]).bias
    assert (bias["equal"], bias["longer_wins"]) == (0.5, 0.75)


def test_where_all_lengths_are_equal_there_is_no_bias_to_measure():
    report = inspect([word_row(i, 5, 5) for i in range(10)], strict=True)
    assert report.bias["equal"] == 1.0
    assert report.bias["longer_wins"] is report.bias["longer_wins_low"] is None
    assert "there is no length bias to measure" in words(report)
    assert "50.0%" not in words(report)
    assert report.exit_code == 0


def test_the_same_of_unpaired_rows(tmp_path, capsys):
    from truing.cli.show_inspection import show_report

    rows = [{"prompt": str(i), "completion": " a", "label": bool(i % 2)} for i in range(10)]
    report = inspect(rows)
    assert report.labels["longer_wins"] is None
    assert "all responses are equally long" in words(report)
    show_report(report)
    assert "50.0%" not in capsys.readouterr().out
    assert write_html(report, tmp_path / "page.html").exists()


def test_the_correlation_with_the_score_gap_is_pearsons():
    random = np.random.default_rng(0)
    gaps = random.normal(size=200)
    rows = [
        word_row(
            i,
            20 + round(3 * gap + noise),
            20,
            score_chosen=5.0,
            score_rejected=5.0 - float(gap),
        )
        for i, (gap, noise) in enumerate(zip(gaps, random.normal(size=200), strict=True))
    ]
    bias = inspect(rows).bias
    lengths = [len(row["chosen"]) - len(row["rejected"]) for row in rows]
    assert bias["score_correlation"] == pytest.approx(stats.pearsonr(lengths, gaps).statistic)


def test_all_ordered_pairs_of_a_kwise_row_count():
    report = inspect([{"prompt": "a", "responses": ["x", "yy", "zzz"], "scores": [1, 2, 3]}])
    assert (report.bias["pairs"], report.bias["longer_wins"]) == (3, 1.0)


def test_unpaired_rows_get_the_area_under_the_curve():
    rows = [
        {"prompt": str(i), "completion": " a" * (5 + i % 8 + i % 2), "label": bool(i % 2)}
        for i in range(40)
    ]
    labels = inspect(rows).labels
    good = [len(row["completion"]) for row in rows if row["label"]]
    bad = [len(row["completion"]) for row in rows if not row["label"]]
    wins = np.mean([(g > b) + 0.5 * (g == b) for g in good for b in bad])
    assert labels["longer_wins"] == pytest.approx(wins)
    assert labels["longer_wins_low"] < wins < labels["longer_wins_high"]


def test_one_label_alone_is_said(shared):
    report = inspect(shared / "data/broken/one-label-only.jsonl")
    assert "no row is labelled undesirable" in words(report)


def test_malformed_rows_are_part_of_the_report_and_fail(shared):
    report = inspect(shared / "data/broken/wrong-types.jsonl")
    assert (report.verdict, report.exit_code) == ("bad", 1)
    assert report.counts["malformed"]["count"] == 5
    assert report.counts["rows"] == 1


def test_a_file_that_cannot_be_read_is_a_report_too(shared):
    report = inspect(shared / "data/broken/truncated.jsonl.gz")
    assert report.exit_code == 1
    assert "ends early" in report.error["what"]
    assert json.loads(json.dumps(report.to_json()))["verdict"] == "bad"


def test_ties_and_reversals_are_counted(shared):
    silent = inspect(shared / "data/broken/scores-reversed.jsonl").counts["silent"]
    assert (silent["ties"]["count"], silent["reversals"]["count"]) == (1, 1)


def test_duplicates_and_contradictions_are_counted(shared):
    found = inspect(shared / "data/broken/duplicate-rows.jsonl").duplicates
    assert (found["repeats"]["count"], found["contradictions"]["count"]) == (2, 1)


def test_contamination_fails(biased):
    report = inspect(biased, test=biased[:3])
    assert report.contamination["exact"]["count"] == 3
    assert report.exit_code == 1


def test_the_offset_of_odpo_is_forecast_for_each_scale():
    rows = [
        word_row(1, 5, 5, score_chosen=3, score_rejected=1),
        word_row(2, 5, 5, score_chosen=1.5, score_rejected=1),
        word_row(3, 5, 5, score_chosen=0, score_rejected=-1),
        word_row(4, 5, 5, score_chosen=1, score_rejected=1),
    ]
    offsets = inspect(rows).scores["offsets"]
    assert offsets["log"]["undefined"] == 0.25
    assert offsets["log"]["negative"] == pytest.approx(1 / 3)
    assert offsets["identity"]["undefined"] == 0
    # A score below zero in one, no higher score in another.
    assert offsets["logratio"]["undefined"] == 0.5
    assert offsets["logratio"]["max"] == pytest.approx(np.log(3))


def test_what_an_objective_needs_is_checked(biased):
    report = inspect(biased, objective="odpo()")
    assert report.exit_code == 1
    assert "`score_chosen` and `score_rejected`" in words(report)


def test_a_tokenizer_gives_tokens_a_template_check_and_a_forecast(shared):
    report = inspect(
        shared / "data/preferences/ultrafeedback-sample/test.jsonl",
        model=shared / "data/tokenizers/smollm2-chatml",
        max_length=512,
    )
    assert report.unit == "tokens"
    prompt, response = report.template["sample"].split("⟦response⟧")
    assert prompt.endswith("<|im_start|>assistant\n")
    assert response.endswith("<|im_end|>")
    [forecast] = [row for row in report.truncation if row["max_length"] == 512]
    assert 0 < forecast["prompt_cut_rows_lost"] < forecast["rows_over"] < 100
    assert "over max_length=512" in words(report)


def test_the_forecast_is_what_the_policies_then_do(shared, tokenizer):
    from truing.data import prepare

    source, limit = shared / "data/preferences/ultrafeedback-sample/test.jsonl", 700
    report = inspect(source, model=shared / "data/tokenizers/smollm2-chatml", max_length=limit)
    [forecast] = [row for row in report.truncation if row["max_length"] == limit]
    k = tokenizer("smollm2-chatml")
    everything = prepare(source, k, max_length=100_000).summary
    total = everything.prompt_tokens + everything.response_tokens
    for policy, rows_lost, tokens in (
        ("keep_end", "prompt_cut_rows_lost", "prompt_cut_tokens"),
        ("cut", "response_cut_rows_lost", "response_cut_tokens"),
    ):
        summary = prepare(source, k, max_length=limit, truncation=policy).summary
        lost = summary.left_out["too_long"].count if "too_long" in summary.left_out else 0
        assert forecast[rows_lost] == lost
        assert forecast[tokens] == pytest.approx(summary.lost_tokens / total)


def test_control_texts_are_worth_a_look(shared):
    report = inspect(
        shared / "data/broken/special-tokens-in-text.jsonl",
        model=shared / "data/tokenizers/mistral-v1",
    )
    assert report.verdict == "look"
    assert "an end token inside a response" in words(report)


def test_prompt_and_response_in_one_word_is_worth_a_look(shared):
    assert "run into one word" in words(
        inspect(shared / "data/preferences/imdb-sentiment/train.jsonl")
    )


def test_margins_without_a_model_are_refused(biased):
    with pytest.raises(ConfigError, match="margins"):
        inspect(biased, margins=5)


def test_the_page_is_whole_escaped_and_names_its_numbers(tmp_path, biased):
    rows = [*biased, word_row(1000, 30, 2, prompt="<script>alert(1)</script>")]
    report = inspect(rows * 2)
    page = write_html(report, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "80.2" in page
    assert "<script>alert(1)" not in page
    assert 'id="plot-length_difference"' in page
    assert "https://" not in page.split("<script>")[0]


def test_an_empty_report_makes_a_page_too(tmp_path, shared):
    report = inspect(shared / "data/broken/zero-rows.jsonl")
    page = write_html(report, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "not fit for training" in page
    assert "no rows in the file" in page


def test_the_verdict_line_names_the_three_most_serious(shared):
    line = InspectReport("x", "tokens").verdict_line
    assert line == "good: nothing found"


def test_a_histogram_keeps_every_value_and_few_kinds_get_a_bin_each():
    values = np.array([1.0, 2.0, 2.0, 7.0])
    assert histogram(values) == {"at": [1.0, 2.0, 7.0], "counts": [1, 2, 1]}
    many = np.random.default_rng(0).normal(size=5000)
    assert sum(histogram(many)["counts"]) == 5000


def test_a_spread_of_nothing_is_nothing():
    assert spread([]) == {}
    assert spread([3.0])["median"] == 3.0


def test_bias_of_no_pairs_is_nothing():
    assert length_bias(pairs_of([])) == {}
    assert label_bias([]) == {"desirable": 0, "undesirable": 0}


def test_margins_say_how_each_form_of_the_reward_follows_length(shared):
    report = inspect(
        shared / "data/preferences/imdb-sentiment/train.jsonl",
        model=shared / "data/models/stories260K",
        max_length=200,
        margins=12,
    )
    assert report.margins["rows"] == 12
    names = [form["name"] for form in report.margins["forms"]]
    assert names == ["sum (DPO)", "same number of tokens (SamPO)", "mean (averaged)"]
    assert report.margins["recommendation"]


def test_margins_are_the_sums_and_means_of_the_given_log_ratios():
    from truing.jobs.inspect_margins import _facts

    class Tokenised:
        def __init__(self, *lengths):
            self.responses = tuple(np.zeros(n, dtype=np.int32) for n in lengths)

    rows = [Tokenised(2, 4), Tokenised(3, 1)]
    facts = _facts(rows, [np.ones(6), np.full(4, 2.0)], has_reference=True)
    summed, sampled, mean = facts["forms"]
    assert summed["margin"] == [2 - 4, 6 - 2]
    assert sampled["margin"] == [0, 0]
    assert mean["margin"] == [0, 0]


def test_rows_without_a_prompt_each_count_for_the_interval(shared):
    bias = inspect(shared / "data/preferences/blimp/test.jsonl").bias
    assert bias["longer_wins_low"] < bias["longer_wins"] < bias["longer_wins_high"]


def test_of_several_turns_the_learned_tokens_count(shared):
    def chat(*texts):
        roles = ("assistant", "user")
        return [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]

    rows = [
        {
            "prompt": [{"role": "user", "content": f"Question {i}?"}],
            "chosen": chat("Yes.", "Are you sure? " * 50, "Yes."),
            "rejected": chat("No, I do not think so."),
        }
        for i in range(20)
    ]
    assert inspect(rows).bias["difference"] == len("Yes.\nYes.") - len("No, I do not think so.")
    folder = shared / "data/tokenizers/smollm2-chatml"
    report = inspect(rows, model=folder, max_length=200)
    assert report.template["several_turns"]["count"] == 20
    assert report.lengths["chosen"]["max"] == 6
    assert inspect(rows, model=folder, loss_turns="last").lengths["chosen"]["max"] == 3
    # The limit counts every token, learned or not.
    [forecast] = [row for row in report.truncation if row["max_length"] == 200]
    assert forecast["rows_over"] == 20


def test_margins_are_of_the_pairs_with_the_smallest_ids(shared):
    from truing.data import read_rows
    from truing.jobs.inspect_rows import Survey

    rows = list(read_rows(shared / "data/preferences/imdb-sentiment/train.jsonl"))
    survey = Survey(None, Needs(), num_kept=7, longest_kept=10_000)
    counts = list(survey.read(rows[i : i + 13] for i in range(0, len(rows), 13)))
    assert sum(counts) == len(rows)
    assert survey.smallest_ids() == sorted(rows, key=lambda row: row.row_id)[:7]
    assert len(survey.facts) == len(rows)
