"""Each alarm is rung by a real run that deserves it, once, and not by one that does not."""

import json

import pytest

from truing.errors import ConfigError, StoppedError
from truing.training.alarms import Alarms

STEPS = 44
ROWS = 4 * STEPS


def alarms(run):
    path = run / "alarms.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    assert len({alarm["alarm"] for alarm in found}) == len(found)
    assert all(alarm["what"] and alarm["fix"] and alarm["step"] for alarm in found)
    return {alarm["alarm"]: alarm for alarm in found}


@pytest.fixture(scope="module")
def by_length(run_on, sentence):
    """The chosen response is the longer one, by 1 to 24 words."""
    pairs = [(sentence(i, 4 + 1 + 7 * i % 24), sentence(ROWS + i, 4)) for i in range(ROWS)]
    return run_on(pairs, learning_rate=1e-4, objective="dpo(beta=0.5)")


def test_a_reward_that_is_length_rings(by_length):
    alarm = alarms(by_length)["length_explains_reward"]
    assert "the longer response is preferred" in alarm["what"]
    assert (
        "eward margins follow the difference of lengths" in (by_length / "report.html").read_text()
    )


def test_a_run_that_learns_is_not_at_chance(by_length):
    assert "accuracy_at_chance" not in alarms(by_length)


def test_labels_that_contradict_each_other_ring(run_on, sentence):
    texts = [(sentence(i // 2, 6), sentence(ROWS + i // 2, 6)) for i in range(ROWS)]
    pairs = [pair if i % 2 else pair[::-1] for i, pair in enumerate(texts)]
    run = run_on(pairs, learning_rate=1e-6)
    assert set(alarms(run)) == {"accuracy_at_chance"}


def test_chosen_responses_that_lose_probability_ring(run_on, sentence):
    # Both sides share all words but the last: what pushes the one down pushes the other.
    pairs = [(f"{sentence(i, 10)} good", f"{sentence(i, 10)} bad") for i in range(ROWS)]
    run = run_on(pairs, learning_rate=1e-3, objective="dpo(beta=0.01)")
    alarm = alarms(run)["likelihood_displacement"]
    assert "sft()" in alarm["fix"]


def test_a_step_unlike_all_before_rings(run_on, sentence):
    pairs = [(sentence(i, 3), sentence(ROWS + i, 3)) for i in range(4 * 24)]
    pairs += [("x#" * 100, "q9 " * 120)] * 4
    run = run_on(pairs, learning_rate=1e-6)
    assert alarms(run)["gradient_spike"]["step"] == 25


def test_a_policy_far_from_its_reference_rings(run_on, sentence, tmp_path):
    pairs = [(sentence(i, 6), sentence(ROWS + i, 12)) for i in range(24)]
    held = tmp_path / "held.jsonl"
    row = {"prompt": "What is it like?", "chosen": "good.", "rejected": "bad."}
    held.write_text(json.dumps(row) + "\n")
    run = run_on(
        pairs,
        learning_rate=3e-3,
        evaluation={"data": str(held), "every": 3},
        checks={"kl": 0.05},
    )
    assert alarms(run)["kl_past_limit"]["step"] in (3, 6)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "eval/kl" in line] == [3, 6]


def test_a_limit_that_nothing_measures_is_an_error(run_on, sentence):
    with pytest.raises(ConfigError, match=r"checks\.kl needs evaluation\.every"):
        run_on([(sentence(0, 3), sentence(1, 3))], checks={"kl": 1.0})


def test_a_run_that_stops_itself_says_why_in_its_folder(run_on, sentence, tmp_path):
    pairs = [(sentence(i, 3), sentence(ROWS + i, 3)) for i in range(16)]
    output = tmp_path / "run"
    with pytest.raises(StoppedError):
        run_on(pairs, learning_rate=1e30, output=output)
    assert set(alarms(output)) == {"stopped"}


def test_a_resumed_run_does_not_ring_again(by_length):
    said = []
    before = alarms(by_length)
    resumed = Alarms(by_length, STEPS, kl_limit=None, say=said.append)
    last = json.loads((by_length / "metrics.jsonl").read_text().splitlines()[-1])
    resumed.look({**last, "step": STEPS + 1})
    assert (said, alarms(by_length)) == ([], before)
