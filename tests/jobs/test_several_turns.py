"""Responses of several turns, through `truing train`."""

import json

import pytest

from truing import evaluate, train


def chat(*texts):
    roles = ("assistant", "user")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    talk = [
        {
            "prompt": [{"role": "user", "content": f"Tell me of {number} dogs."}],
            "chosen": chat("Once there was a dog.", "Go on.", f"There were {number}."),
            "rejected": chat("No.", "Please.", "I said no.", "Why?", "I am tired."),
        }
        for number in range(4)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in talk))
    return str(path)


@pytest.fixture
def losses(rows, shared, tmp_path):
    def run(name, **keys):
        result = train(
            model=str(shared / "data/models/stories260K"),
            tokenizer=str(shared / "data/tokenizers/tok512-chatml"),
            data=rows,
            output=tmp_path / name,
            pairs_per_step=2,
            learning_rate=1e-3,
            trainer={"save_strategy": "no"},
            **keys,
        )
        summary = json.loads((result.output / "data.json").read_text())
        lines = (result.output / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines], summary["train"]

    return run


@pytest.mark.parametrize("objective", ["sampo()", "dpo() + 0.1*sft()"])
def test_every_engine_learns_the_same_from_the_same_turns(losses, objective):
    found, summary = losses("shared", engine="shared", objective=objective)
    expected, _ = losses("padded", engine="padded", objective=objective)
    assert found == pytest.approx(expected, rel=1e-5)
    assert summary["several_turns"]["count"] == 4


def test_the_last_turn_alone_is_another_loss(losses):
    every, summary = losses("all", objective="sft()")
    last, shorter = losses("last", objective="sft()", loss_turns="last")
    assert every[0] != pytest.approx(last[0], rel=1e-3)
    assert shorter["context_tokens"] > summary["context_tokens"]


def test_sets_of_responses_are_ranked_by_what_the_assistant_says(losses, tmp_path):
    # The more the assistant says, the less the user does, and the higher the score.
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Tell me of {number} dogs."}],
            "responses": [
                chat("Once.", "Go on, go on and on, please do, I want to hear it all.", "No."),
                chat("Once there was a dog.", "Go on, please do, I want it.", "It sat."),
                chat("Once there was a dog and a cat.", "Go on.", "It sat with the cat."),
            ],
            "scores": [1, 2, 3],
        }
        for number in range(4)
    ]
    held = tmp_path / "sets.jsonl"
    held.write_text("".join(json.dumps(row) + "\n" for row in rows))
    losses("run", objective="dpo()")
    assert evaluate(tmp_path / "run", str(held))["length_rank_correlation"] == 1
