"""`truing evaluate` and `truing compare` on real runs of the embedded world."""

import json
import math
import shutil

import numpy as np
import pytest
import torch

from truing.core.progress import SILENT, Silent
from truing.errors import ConfigError, FitError, ResumeError, RowError
from truing.jobs.asked import measured, respond
from truing.jobs.asking import Asking, read_prompts
from truing.jobs.compare import _contest, compare
from truing.jobs.evaluate import evaluate
from truing.jobs.evaluated import GENERATIONS, Generated, Spoken, read_generated, read_pairs
from truing.jobs.opened import OpenRun
from truing.jobs.speakers import open_speaker
from truing.report.collect import collect
from truing.responses import Sampling
from truing.responses.groups import Asked
from truing.world import prompts

WORLD = Asking("world", number=24, max_new_tokens=64, score="world()")


@pytest.fixture(scope="module")
def compared(world_runs, world_rows, tmp_path_factory):
    page = tmp_path_factory.mktemp("page") / "compare.html"
    found = compare(
        list(world_runs.values()), data=str(world_rows / "held.jsonl"), asking=WORLD, output=page
    )
    return found, page


def test_three_runs_are_measured_on_the_same_rows_and_prompts(compared):
    found, _ = compared
    assert found.names == ("dpo", "sampo", "averaged")
    measures = {measure.key: measure for measure in found.measures}
    assert {"reward_accuracy", "policy_accuracy", "win_rate"} <= measures.keys()
    assert {"length_controlled_win_rate", "repetition", "distinct_2", "cut"} <= measures.keys()
    for key in ("score", "kl", "length"):
        for value in measures[key].values:
            assert value.low < value.value < value.high
            assert value.number == 24


def test_every_pair_of_runs_is_tested_and_all_are_corrected_together(compared):
    found, _ = compared
    tested = [one for one in found.differences if one.measure == "score"]
    assert [(one.run, one.other) for one in tested] == [
        ("dpo", "sampo"), ("dpo", "averaged"), ("sampo", "averaged")
    ]  # fmt: skip
    known = [one for one in found.differences if not math.isnan(one.p)]
    assert {one.family for one in known} == {len(known)}
    assert all(one.p_corrected >= one.p for one in known)
    assert any("one run" in note for note in found.notes)


def test_the_frontier_the_matrix_and_the_ranking_hold_all_runs(compared):
    found, _ = compared
    assert [point.run for point in found.frontier.points] == list(found.names)
    assert len(found.frontier.shares) == 3
    assert {name for pair in found.wins for name in pair} == {*found.names, "start"}
    assert found.ranking is None or found.ranking.anchor == "start"


def test_the_json_is_plain_and_the_page_holds_the_samples(compared):
    found, page = compared
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["configuration"]["objective"]["dpo"] == "dpo(beta=1.0)"
    assert plain["prompts"] == 24
    text = page.read_text()
    for figure in ("frontier", "length-score", "over-loss-run-training"):
        assert f"plot-{figure}" in text
    assert len(text) < 15e6


def test_a_second_comparison_asks_nothing_anew(compared, world_runs, world_rows, tmp_path):
    files = [run / "evaluated" / GENERATIONS for run in world_runs.values()]
    before = [file.stat().st_mtime_ns for file in files]
    compare(
        list(world_runs.values())[:2],
        data=str(world_rows / "held.jsonl"),
        asking=WORLD,
        output=tmp_path / "again.html",
    )
    assert [file.stat().st_mtime_ns for file in files] == before


def test_the_pieces_of_a_response_are_its_text_and_each_has_its_log_ratio(compared, world_runs):
    generated = read_generated(world_runs["dpo"], GENERATIONS)
    for one in generated.responses:
        assert "".join(one.pieces) == one.text
        assert len(one.pieces) == len(one.log_ratios) == len(one.tokens)


def test_the_kl_of_sampled_tokens_is_near_the_exact_one_of_the_same_contexts(compared, world_runs):
    """Token by token the exact KL can be summed over the whole vocabulary."""
    opened = OpenRun(world_runs["dpo"])
    models = opened.policy, opened.start()
    generated = read_generated(world_runs["dpo"], GENERATIONS)
    tokenizer = opened.reader.tokenizer
    sampled, exact = [], []
    for one in generated.responses[:12]:
        prompt = tokenizer(one.prompt)["input_ids"]
        ids = torch.tensor([[*prompt, *one.tokens]])
        with torch.no_grad():
            ours, theirs = (m(input_ids=ids).logits.double().log_softmax(-1) for m in models)
        where = slice(len(prompt) - 1, -1)
        ours, theirs = ours[0, where], theirs[0, where]
        exact.append(float((ours.exp() * (ours - theirs)).sum()))
        ratios = np.array(one.log_ratios)
        sampled.append(float((np.expm1(-ratios) + ratios).sum()))
        picked = (ours - theirs).gather(-1, torch.tensor(one.tokens)[:, None]).squeeze(-1)
        np.testing.assert_allclose(ratios, picked.numpy(), atol=1e-4)
    error = np.std(np.array(sampled) - np.array(exact), ddof=1) / np.sqrt(len(exact))
    assert abs(np.mean(sampled) - np.mean(exact)) < 4 * error


def test_evaluating_a_run_writes_numbers_rows_and_its_report(compared, world_runs):
    run = world_runs["dpo"]
    assert len(read_pairs(run)) == 20
    found = evaluate(run, asking=Asking("world", number=8, max_new_tokens=32, score="world()"))
    numbers = found["generations"]
    assert numbers["responses"] == 8
    assert 0 <= numbers["win_rate"] <= 1
    assert numbers["kl_low"] <= numbers["kl"] <= numbers["kl_high"]
    assert any("light form" in note for note in numbers["notes"])
    assert "length controlled win rate" in (run / "report.html").read_text()
    assert collect(run).evaluated["generations"]["responses"] == 8


def test_sets_of_responses_give_rank_correlations(world_runs, tmp_path):
    texts = ("It is good.", "I do not care about this.", "The hall is dark. It is cold.")
    rows = [
        {"prompt": prompt.text, "responses": list(texts), "scores": [2.0 + i % 3, 0.0, 1.0]}
        for i, prompt in enumerate(prompts("train")[50:58])
    ]
    path = tmp_path / "sets.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = evaluate(world_runs["dpo"], str(path))
    assert found["sets"] == 8
    # By length alone the order of two of the three pairs is wrong or right for all sets alike.
    assert -1 <= found["length_rank_correlation"] <= 1
    for name in ("rank_correlation", "policy_rank_correlation", "rank_correlation_per_token"):
        assert -1 <= found[f"{name}_low"] <= found[name] <= found[f"{name}_high"] <= 1


def test_missing_responses_of_a_baseline_are_counted_and_left_out(world_runs, tmp_path):
    asking = Asking("world", number=6, max_new_tokens=16, score="world()")
    opened = OpenRun(world_runs["sampo"])
    after, _, _ = respond(opened, asking, None, SILENT)
    file = tmp_path / "baseline.jsonl"
    rows = [
        {"prompt": one.prompt, "response": "That is a good thing."} for one in after.responses[:4]
    ]
    rows[3]["response"] = "   "
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    after, before, notes = respond(opened, asking, str(file), SILENT)
    assert notes[0].startswith("3 of 6 prompts have no response of the baseline")
    assert measured(after, before)["compared"] == 3
    file.write_text(json.dumps({"prompt": "unknown", "response": "x"}) + "\n")
    with pytest.raises(RowError, match="no response to any of the prompts"):
        respond(opened, asking, str(file), SILENT)


TEMPLATE = "{% for turn in messages %}{{ turn['content'] }}\n{% endfor %}"


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_baselines_responses_to_conversations_are_found_and_numbered(world_runs, tmp_path):
    opened = OpenRun(world_runs["sampo"])
    opened.reader.tokenizer.chat_template = TEMPLATE
    questions = [[{"role": "user", "content": one.text}] for one in prompts("test")[:3]]
    asked = lines(tmp_path / "prompts.jsonl", [{"prompt": turns} for turns in questions])
    said = [{"role": "assistant", "content": "It is good."}]
    rows = [
        {"prompt": questions[0], "response": said},
        {"prompt": questions[1], "response": "It is cold.", "finished": False},
        {"prompt": questions[0], "response": "It is bad."},
    ]
    file = lines(tmp_path / "baseline.jsonl", rows)
    asking = Asking(asked, responses=2, max_new_tokens=8, score="length()")
    after, before, notes = respond(opened, asking, file, SILENT)
    found = [(one.prompt, one.number, one.text, one.finished) for one in before.responses]
    assert found == [
        (questions[0][0]["content"], 0, "It is good.", True),
        (questions[0][0]["content"], 1, "It is bad.", True),
        (questions[1][0]["content"], 0, "It is cold.", False),
    ]
    assert measured(after, before)["compared"] == 3
    assert notes[0].startswith("1 of 3 prompts have no response of the baseline")
    assert "3 responses where 2 were asked of each of 2 prompts" in notes[1]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "x"}, "has no column `response`"),
        ({"prompt": 3, "response": "x"}, "is a number"),
        ({"prompt": "x", "response": None}, "`response`: is null"),
    ],
)
def test_a_row_of_a_baseline_that_cannot_be_read_is_named(world_runs, tmp_path, row, words):
    file = lines(tmp_path / "baseline.jsonl", [{"prompt": "x", "response": "y"}, row])
    asking = Asking("world(rows=2)", max_new_tokens=4)
    with pytest.raises(RowError, match="row 2") as caught:
        respond(OpenRun(world_runs["sampo"]), asking, file, SILENT)
    assert words in str(caught.value)
    assert "--skip-bad" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "number", "wanted"),
    [
        ("world(rows=5)", None, slice(5)),
        ("world(rows=5, skip=2)", 3, slice(2, 5)),
        ("world", 4, slice(4)),
    ],
)
def test_prompts_are_named_as_where_pairs_are_made(world_runs, source, number, wanted):
    tokenizer = OpenRun(world_runs["sampo"]).reader.tokenizer
    asked = read_prompts(Asking(source, number=number), tokenizer)
    assert [one.text for one in asked] == [one.text for one in prompts("test")[wanted]]


def test_a_baseline_with_a_tokenizer_of_its_own_is_asked_through_it(world_runs, shared):
    stories = str(shared / "data/models/stories260K")
    opened = OpenRun(world_runs["sampo"])
    asking = Asking("world(rows=3)", max_new_tokens=12, score="length()")
    after, before, _ = respond(opened, asking, stories, SILENT)
    questions = [Asked(one.prompt) for one in after.responses]
    own = open_speaker(stories).respond(questions, Sampling(max_new_tokens=12), seed=0)
    assert [one.text for one in before.responses] == [group[0].text for group in own]
    tokenizer = opened.reader.tokenizer
    for one in before.responses:
        counted = tokenizer(one.text, add_special_tokens=False)["input_ids"]
        assert len(one.tokens) == len(counted) + one.finished
    assert measured(after, before)["compared"] == 3


class Listening(Silent):
    """Remembers what was begun."""

    def __init__(self):
        self.begun = []

    def task(self, *, total, description):
        self.begun.append(description)
        return super().task(total=total, description=description)


def test_a_baseline_that_is_not_there_or_malformed_is_told_before_anybody_is_asked(
    world_runs, tmp_path
):
    asking, opened, heard = Asking("world(rows=2)"), OpenRun(world_runs["sampo"]), Listening()
    with pytest.raises(ConfigError, match="neither a model's folder nor a file"):
        respond(opened, asking, str(tmp_path / "nowhere"), heard)
    assert "policy" not in vars(opened)
    with pytest.raises(RowError, match="row 1"):
        respond(opened, asking, lines(tmp_path / "b.jsonl", [{"prompt": 3}]), heard)
    assert heard.begun == []
    respond(opened, Asking("world(rows=2)", max_new_tokens=4), None, heard)
    assert "the policy responds" in heard.begun


def test_prompts_that_leave_no_room_are_left_out_and_told(world_runs, tmp_path):
    long = {"prompt": "word " * 2000}
    asked = lines(tmp_path / "p.jsonl", [long, {"prompt": "Hi"}])
    found = evaluate(world_runs["sampo"], asking=Asking(asked, max_new_tokens=8))["generations"]
    assert found["prompts"] == 1
    assert any(note.startswith("1 of 2 prompts leave no room") for note in found["notes"])
    with pytest.raises(FitError, match="all 1 prompts leave no room"):
        evaluate(world_runs["sampo"], asking=Asking(lines(tmp_path / "q.jsonl", [long])))


def scored(name, *scores):
    """What one policy said to as many prompts, and what it was worth."""
    return Generated(
        {},
        tuple(
            Spoken(f"p{i}", f"k{i}", 0, name, (1, 2), (), (), -1.0, finished=True, score=one)
            for i, one in enumerate(scores)
        ),
    )


def test_runs_are_ranked_although_the_start_lost_everything():
    said = [scored("a", 1.0, 3.0, 2.0), scored("b", 2.0, 1.0, 1.0)]
    found = _contest(("a", "b"), said, scored("start", 0.0, 0.0, 0.0))
    assert found.ranking.anchor == "a"
    assert np.isfinite(found.ranking.strength["b"].value)
    assert any("`start`" in note for note in found.ranking.notes)
    assert ("a", "start") in found.wins


def test_where_nobody_can_be_ranked_that_is_said():
    said = [scored("a", 3.0, 3.0), scored("b", 2.0, 1.0)]
    found = _contest(("a", "b"), said, scored("start", 0.0, 0.0))
    assert found.ranking is None
    assert "no ranking" in found.notes[0]


def test_runs_that_share_no_prompt_are_refused_and_some_in_common_are_told(
    world_runs, world_rows, tmp_path
):
    one, other = (tmp_path / name for name in ("one", "other"))
    for target, name, rows in ((one, "dpo", "train"), (other, "sampo", "held")):
        copy(world_runs[name], target)
        asking = Asking(str(world_rows / f"{rows}.jsonl"), number=3, max_new_tokens=8)
        respond(OpenRun(target), asking, None, SILENT)
    with pytest.raises(RowError, match="none of which they share") as caught:
        compare([one, other], output=tmp_path / "page.html")
    assert "--prompts" in caught.value.fix
    respond(
        OpenRun(other),
        Asking(str(world_rows / "train.jsonl"), number=2, max_new_tokens=8),
        None,
        SILENT,
    )
    found = compare([one, other], output=tmp_path / "page.html")
    assert any("share 2 of up to 3" in note for note in found.notes)
    assert found.frontier is None  # there are no scores


def test_another_baseline_is_never_called_the_start(world_runs, tmp_path):
    asking = Asking("world", number=4, max_new_tokens=8, score="world()")
    runs = [tmp_path / "one", tmp_path / "other"]
    rows = [{"prompt": one.text, "response": "Hm."} for one in prompts("test")[:4]]
    file = tmp_path / "baseline.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for run, name in zip(runs, ("dpo", "sampo"), strict=True):
        copy(world_runs[name], run)
        respond(OpenRun(run), asking, str(file), SILENT)
    found = compare(runs, output=tmp_path / "page.html")
    assert "win_rate" not in {measure.key for measure in found.measures}
    assert any("another baseline" in note for note in found.notes)
    found = compare(runs, asking=asking, output=tmp_path / "page.html")
    assert "win_rate" in {measure.key for measure in found.measures}


def test_rows_that_changed_or_were_not_all_scored_are_scored_again(
    world_runs, world_rows, tmp_path
):
    runs, file = [tmp_path / "one", tmp_path / "other"], tmp_path / "held.jsonl"
    lines = (world_rows / "held.jsonl").read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:5]))
    for run, name in zip(runs, ("dpo", "sampo"), strict=True):
        copy(world_runs[name], run)
        evaluate(run, str(file), rows=2)
    compare(runs, data=str(file), output=tmp_path / "page.html")
    assert [len(read_pairs(run)) for run in runs] == [5, 5]
    file.write_text("".join(lines[:7]))
    compare(runs, data=str(file), output=tmp_path / "page.html")
    assert [len(read_pairs(run)) for run in runs] == [7, 7]


def test_what_cannot_be_compared_is_said(world_runs, tmp_path):
    run = world_runs["averaged"]
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare([run, run], output=tmp_path / "page.html")
    with pytest.raises(ConfigError, match="there is no run here"):
        compare([run, tmp_path / "nowhere"], output=tmp_path / "page.html")
    with pytest.raises(ConfigError, match="no place for a page"):
        compare([run, world_runs["dpo"]], output=tmp_path / "no" / "page.html")
    with pytest.raises(ResumeError, match=r"holds no run\.yaml"):
        evaluate(tmp_path)


@pytest.mark.parametrize(
    "idle", [{"baseline": "x"}, {"task_folder": "x"}, {"limit": 3}, {"rows": 3}]
)
def test_an_option_without_effect_is_an_error(world_runs, idle):
    with pytest.raises(ConfigError):
        evaluate(world_runs["dpo"], asking=None, **idle)
    with pytest.raises(ConfigError, match="rows"):
        evaluate(world_runs["dpo"], asking=WORLD, rows=3)


def test_damaged_rows_of_an_evaluation_are_named(world_runs, tmp_path):
    run = tmp_path / "run"
    copy(world_runs["dpo"], run)
    (run / "evaluated").mkdir(exist_ok=True)
    (run / "evaluated" / GENERATIONS).write_text('{"settings": {}}\n{"prompt": 1}\n')
    with pytest.raises(RowError, match="line 2"):
        read_generated(run, GENERATIONS)


def copy(run, target):
    shutil.copytree(run, target, ignore=shutil.ignore_patterns("evaluated", "checkpoint-*"))
