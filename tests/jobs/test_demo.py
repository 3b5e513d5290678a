import json
from random import Random

import numpy as np
import pytest

from truing.errors import ConfigError
from truing.jobs.demo import Asked, DemoPlan, demo, draw_pairs
from truing.responses import Response
from truing.world import assess, prompts

TINY = DemoPlan(train_prompts=24, test_prompts=12, epochs=1, pairs_per_step=8)

# Two responses to the first test prompt that differ by far more than the draw's temperature.
GOOD = "The notes say that the music is dull. The rooms are bright."
BAD = "Stop wasting my time."


def asked(*texts, finished=True, times=1):
    prompt = prompts("test")[0]
    group = [Response(text, (5, 0), finished, -1.0) for text in texts]
    judged = [assess(prompt, text, finished=finished) for text in texts]
    return Asked([prompt] * times, [[5]] * times, [group] * times, [judged] * times)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return demo(tmp_path_factory.mktemp("demo") / "new", plan=TINY)


def test_the_best_response_stands_against_the_worst():
    (pair,) = draw_pairs(asked(BAD, "The rooms are clean.", GOOD), 0.1, Random(0))
    assert (pair["chosen"], pair["rejected"]) == (GOOD, BAD)
    assert pair["score_chosen"] > pair["score_rejected"]


def test_a_hot_draw_labels_half_of_the_pairs_against_the_score():
    pairs = draw_pairs(asked(BAD, GOOD, times=400), 1e6, Random(0))
    assert np.mean([pair["chosen"] == BAD for pair in pairs]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    "useless", [asked(GOOD, GOOD), asked(GOOD), asked(GOOD, BAD, finished=False)]
)
def test_ties_single_and_cut_responses_make_no_pair(useless):
    assert draw_pairs(useless, 0.5, Random(0)) == []


def test_the_table_shows_score_wins_distance_and_length(result):
    titles = [row[0] for row in result.rows]
    for word in ("score", "win rate", "KL", "length", "right facts", "broken"):
        assert any(word in title for title in titles)
    assert all(len(row) == len(result.columns) for row in result.rows)


def test_the_numbers_are_plain_and_have_intervals(result):
    numbers = json.loads(json.dumps(result.to_json()))
    for name in ("score", "score_before", "win_rate", "kl", "length", "right_facts"):
        assert numbers[f"{name}_low"] <= numbers[name] <= numbers[f"{name}_high"]


def test_the_run_folder_holds_policy_evaluation_samples_and_report(result):
    run = result.output
    assert list(run.glob("*.safetensors"))
    written = json.loads((run / "evaluation.json").read_text())
    assert written["win_rate"] == result.numbers["win_rate"]
    assert "reward_accuracy" in written
    lines = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    assert len(lines) == TINY.test_prompts
    assert set(lines[0]) >= {"prompt", "before", "after", "score_before", "score_after"}
    assert (run / "report.html").stat().st_size > 1000


def test_the_pairs_lie_beside_the_run_and_none_asks_a_test_prompt(result):
    text = (result.output.parent / "pairs.jsonl").read_text()
    pairs = [json.loads(line) for line in text.splitlines()]
    test = {prompt.text for prompt in prompts("test")}
    assert 16 <= len(pairs) <= TINY.train_prompts
    assert not test & {pair["prompt"] for pair in pairs}


def test_a_folder_with_something_in_it_is_refused_before_any_work(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="something in the output folder"):
        demo(tmp_path, plan=TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
