"""References in whole runs: what they say, in which order models are in memory, and how far."""

import json

import numpy as np
import pytest
import torch

from truing import evaluate, train
from truing.core import View
from truing.core.progress import Silent
from truing.references.distance import distances, far_references
from truing.references.store import Shelf, shelves


@pytest.fixture
def keys(start, pairs, tmp_path):
    return {
        "model": start,
        "data": str(pairs),
        "output": tmp_path / "run",
        "pairs_per_step": 4,
        "trainer": {"save_strategy": "no"},
        "epochs": 0.5,
    }


def losses(run):
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


class Listener(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_a_sweep_over_the_strength_computes_its_reference_once(keys, tmp_path):
    said = Listener()
    for number, beta in enumerate((0.01, 1.0)):
        train(
            **{**keys, "output": tmp_path / str(number)},
            objective=f"dpo(beta={beta})",
            progress=said,
        )
    about = [note for note in said.notes if note.startswith("reference:")]
    assert "32 of 32 responses to compute" in about[0]
    assert "32 responses computed" in about[1]
    assert ["32 responses were stored already" in note for note in about[2:]] == [True]


def test_values_from_the_store_train_to_the_same_bits(keys, tmp_path):
    first = train(**{**keys, "output": tmp_path / "a"})
    second = train(**{**keys, "output": tmp_path / "b"})
    assert losses(first.output) == losses(second.output)


def test_adapters_share_the_reference_of_full_training(keys, tmp_path):
    said = Listener()
    train(**{**keys, "output": tmp_path / "a"})
    result = train(**{**keys, "output": tmp_path / "b"}, lora={"rank": 2}, progress=said)
    assert any("all 32 responses were stored already" in note for note in said.notes)
    assert losses(result.output)[0] == pytest.approx(np.log(2), abs=1e-5)


def test_the_start_of_a_loaded_adapter_is_its_reference(keys, tmp_path):
    first = train(
        **{**keys, "output": tmp_path / "a", "epochs": 2}, lora={"rank": 4}, learning_rate=3e-3
    )
    again = train(
        **{**keys, "model": str(first.output), "output": tmp_path / "b"}, lora={"rank": 2}
    )
    assert losses(again.output)[0] == pytest.approx(np.log(2), abs=1e-5)
    assert len(shelves()) == 2  # the base, and the base with its adapter


def test_unconditional_makes_dpo_the_likelihood_form(keys, tmp_path):
    one = train(**{**keys, "output": tmp_path / "a"}, objective="likelihood_ratio(beta=0.05)")
    two = train(
        **{**keys, "output": tmp_path / "b"},
        objective="dpo(beta=0.05)",
        reference="unconditional()",
    )
    assert losses(one.output) == pytest.approx(losses(two.output), rel=1e-4)


def test_held_out_rows_have_their_reference_without_a_prompt(keys, tmp_path):
    held = {"data": keys["data"], "samples": 0}
    result = train(
        **{**keys, "output": tmp_path / "a", "evaluation": held},
        objective="likelihood_ratio(beta=0.05)",
    )
    again = evaluate(result.output)
    assert again["margin"] == pytest.approx(result.evaluation["margin"], rel=1e-4)
    assert abs(again["margin"]) > 0


def test_another_model_is_gone_before_the_policy_comes(keys, copied, monkeypatch):
    from truing.engine import frozen
    from truing.jobs import stations

    alive = []
    load_merged, make_policy = frozen.load_merged, stations.make_policy

    def other(*args, **kwargs):
        import weakref

        model = load_merged(*args, **kwargs)
        alive.append(weakref.ref(model))
        return model

    def policy(*args, **kwargs):
        assert [one() for one in alive] == [None]
        return make_policy(*args, **kwargs)

    monkeypatch.setattr(frozen, "load_merged", other)
    monkeypatch.setattr(stations, "make_policy", policy)
    train(**keys, reference=f"model(path={str(copied)!r})")
    assert len(alive) == 1


def test_a_reference_in_other_numbers_lies_apart_and_says_so(keys, start):
    said = Listener()
    train(
        **keys, reference=f"model(path={start!r}, dtype='bfloat16', offload='disk')", progress=said
    )
    (shelf,) = shelves()
    assert shelf.facts["dtype"] == "bfloat16"
    assert any("tokens/s, bfloat16" in note for note in said.notes)


def test_a_quantised_reference_is_near_the_whole_one(keys, start):
    pytest.importorskip("bitsandbytes")
    result = train(**keys, reference=f"model(path={start!r}, quantisation='int8')")
    assert losses(result.output)[0] == pytest.approx(np.log(2), abs=0.05)


def test_evaluation_of_a_run_takes_its_references_from_the_store(keys, pairs):
    result = train(
        **keys,
        reference="ema(decay=0.5)",
        evaluation={"data": str(pairs), "samples": 0},
    )
    shelf = shelves()[0]
    before = shelf.contents()
    found = evaluate(result.output, str(pairs))
    assert found["margin"] == pytest.approx(result.evaluation["margin"], abs=1e-5)
    assert Shelf(shelf.folder).contents() == before


def view(policy, references):
    tokens = len(policy)
    return View(
        policy=torch.tensor(policy),
        response=torch.zeros(tokens, dtype=torch.int64),
        group=torch.zeros(1, dtype=torch.int64),
        pairs=torch.zeros(0, 2, dtype=torch.int64),
        references=torch.tensor(references),
    )


def test_the_distance_is_measured_for_each_reference():
    policy = np.log([0.5, 0.25])
    one, two = np.log([0.5, 0.5]), np.log([0.1, 0.25])
    found = distances(view(policy.tolist(), [one.tolist(), two.tolist()]))

    def coin(p, r):
        return p * np.log(p / r) + (1 - p) * np.log((1 - p) / (1 - r))

    assert found["reference_1/log_ratio"] == pytest.approx((policy - one).mean())
    assert found["reference_1/kl"] == pytest.approx(coin(0.25, 0.5) / 2, rel=1e-5)
    assert found["reference_2/kl"] == pytest.approx(coin(0.5, 0.1) / 2, rel=1e-5)
    assert found["reference_2/distance"] == pytest.approx(np.abs(policy - two).mean())


def test_a_token_that_is_certain_makes_no_nan():
    found = distances(view([0.0, -1e-9, -80.0], [[-1e-9, 0.0, -0.1]]))
    assert all(np.isfinite(value) for value in found.values())


def test_the_kl_of_two_coins_is_a_lower_bound():
    p, r = torch.randn(2, 50, 7, dtype=torch.float64).log_softmax(-1)
    whole = (p.exp() * (p - r)).sum(-1).mean()
    token = torch.randint(0, 7, (50, 1))
    found = distances(view(p.gather(1, token)[:, 0].tolist(), [r.gather(1, token)[:, 0].tolist()]))
    assert 0 < found["reference/kl"] <= float(whole)


def test_a_far_reference_is_named_with_the_reason():
    near = {"reference/distance": 0.3, "reference/kl": 0.1, "reference/log_ratio": 0.0}
    far = {**near, "reference/distance": 2.0}
    assert not far_references(near, {0: "model(path='a')"}, 1)
    (found,) = far_references(far, {0: "model(path='a')"}, 1)
    assert "model(path='a') is far from the policy" in found.what
    assert "2407.13709" in found.what
    assert not far_references(far, {}, 1)
