"""Every recipe that reads no more than pairs and their scores trains on the embedded world."""

import gc
import json
import math

import pytest
import torch

from truing import train
from truing.recipes._recipe import SHELF
from truing.world import model_folder, prompts

GOOD = ("It is dry and quiet.", "I would go early.", "The rooms are small.")
BAD = ("I do not care about this at all today.", "No.", "It is not dry, and it is not quiet.")


def reads_only_pairs_and_scores(name):
    needs = SHELF[name].build().needs
    return not (needs.win_probability or needs.auxiliary)


EXPRESSIONS = [
    *(repr(SHELF[name].build()) for name in SHELF if reads_only_pairs_and_scores(name)),
    "sppo(hard=True)",
]
REFERENCES = {"mrpo()": "several([policy_start(), policy_start()])"}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Six pairs with scores, on prompts of the embedded world."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [
        {
            "prompt": prompt.text,
            "chosen": GOOD[number % 3],
            "rejected": BAD[number % 3],
            "score_chosen": 2.0 + number,
            "score_rejected": 0.5,
        }
        for number, prompt in enumerate(prompts("train")[:6])
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module", autouse=True)
def _light():
    """One thread, since these tensors are tiny; what is loaded already is not collected again."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.freeze()
    yield
    gc.unfreeze()
    torch.set_num_threads(threads)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_three_steps(expression, pairs, tmp_path):
    result = train(
        model=str(model_folder()),
        data=str(pairs),
        objective=expression,
        output=str(tmp_path / "run"),
        pairs_per_step=2,
        learning_rate=1e-4,
        reference=REFERENCES.get(expression),
        trainer={"save_strategy": "no"},
    )
    lines = [json.loads(x) for x in (result.output / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3]
    assert all(math.isfinite(line["loss"]) for line in lines)
    # Not of each step: posterior() at its beta of 100 is flat where the order is right already.
    assert 0 < max(line["grad_norm"] for line in lines) < math.inf
