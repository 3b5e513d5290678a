import json

import numpy as np
import pytest

from truing.evaluation import PairTable
from truing.world import model_folder, prompts


@pytest.fixture
def table() -> PairTable:
    """300 pairs of 100 prompts: chosen is a little likelier, longer and better."""
    rng = np.random.default_rng(5)
    num = 300
    length_chosen, length_rejected = rng.integers(2, 60, num), rng.integers(1, 50, num)
    reference_chosen = -1.1 * length_chosen + rng.normal(0, 4, num)
    reference_rejected = -1.1 * length_rejected + rng.normal(0, 4, num)
    drift_chosen, drift_rejected = rng.normal(-0.5, 3, num), rng.normal(-2, 3, num)
    return PairTable(
        logp_chosen=reference_chosen + drift_chosen,
        logp_rejected=reference_rejected + drift_rejected,
        length_chosen=length_chosen,
        length_rejected=length_rejected,
        reward_chosen=0.2 * drift_chosen,
        reward_rejected=0.2 * drift_rejected,
        reference_chosen=reference_chosen,
        reference_rejected=reference_rejected,
        score_chosen=np.round(rng.normal(1, 1, num), 1),
        score_rejected=np.round(rng.normal(0, 1, num), 1),
        prompt=np.repeat(np.arange(100), 3),
    )


GOOD = "I would say that it is good."
BAD = "I do not care about this. I have no idea, and I do not want to think about it today."
OBJECTIVES = {
    "dpo": "dpo(beta=1.0)",
    "sampo": "sampo(beta=1.0)",
    "averaged": "averaged(dpo(beta=30.0))",
}


@pytest.fixture(scope="session")
def world_rows(tmp_path_factory):
    """Pairs on prompts of the embedded world: to train on, and held out."""
    folder = tmp_path_factory.mktemp("rows")
    for name, part in (("train", slice(0, 24)), ("held", slice(24, 44))):
        rows = [
            {"prompt": prompt.text, "chosen": f"{GOOD} {number}.", "rejected": BAD}
            if number % 5
            else {"prompt": prompt.text, "chosen": BAD, "rejected": GOOD}
            for number, prompt in enumerate(prompts("train")[part])
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)
    return folder


@pytest.fixture(scope="session")
def world_runs(world_rows, tmp_path_factory):
    """Three small runs of the embedded model on the same pairs, by name."""
    from truing import train

    folder = tmp_path_factory.mktemp("runs")
    return {
        name: train(
            model=str(model_folder()),
            data=str(world_rows / "train.jsonl"),
            objective=objective,
            output=folder / name,
            pairs_per_step=6,
            learning_rate=5e-4,
            trainer={"save_strategy": "no"},
        ).output
        for name, objective in OBJECTIVES.items()
    }
