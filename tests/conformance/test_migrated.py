"""`truing migrate`: the run file trains to the same losses as the arguments that it was made of."""

import dataclasses
import json

import numpy as np
import pytest
import yaml

from truing.jobs.migrate import migrate

from .sides import LORA, SETTINGS, kinds, run_ours, run_theirs, theirs_of, trl
from .test_losses import LOSSES

FILES = {
    "mpo": {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]},
    "hinge": {"loss_type": "hinge", "beta": 0.05, "warmup_steps": 3},
}
FOLLOWING = {"sync_ref_model": True, "ref_model_mixup_alpha": 0.6, "ref_model_sync_steps": 3}
ADAPTERS = {
    "use_peft": True,
    "lora_r": LORA["rank"],
    "lora_alpha": LORA["alpha"],
    "lora_target_modules": LORA["targets"],
    "lora_dropout": 0.0,
}


def both(arguments, home, file, *, lora):
    """Losses of ten steps: TRL's under these arguments, and those of the run file made of them."""
    settings = {**SETTINGS, "per_device_train_batch_size": 4, "bf16": False, "max_length": None}
    order = {"train_sampling_strategy": "sequential", "model_name_or_path": home.model}
    adapters = ADAPTERS if lora else {}
    file.write_text(yaml.safe_dump({**arguments, **settings, **adapters, **order}))
    trainer = theirs_of(
        "dpo",
        home.policy(),
        None if lora else home.policy(),
        home.tokenizer,
        home.conversational,
        lora=lora,
        **{**arguments, "max_length": None},
    )
    theirs = run_theirs(trainer)
    keys = dict(migrate(file).keys)
    ours = run_ours({k: v for k, v in keys.items() if k != "output"}, home.conversational)
    return theirs.losses, ours.losses


@pytest.mark.parametrize("name", FILES)
def test_a_migrated_file_trains_to_their_losses(name, home, tmp_path):
    theirs, ours = both(FILES[name], home, tmp_path / "trl.yaml", lora=True)
    np.testing.assert_allclose(ours, theirs, rtol=LOSSES, atol=1e-4)


def test_a_reference_that_follows_the_policy_follows_it_as_theirs(home, tmp_path):
    theirs, ours = both(FOLLOWING, home, tmp_path / "trl.yaml", lora=False)
    np.testing.assert_allclose(ours, theirs, rtol=LOSSES, atol=1e-4)
    still, _ = both({}, home, tmp_path / "still.yaml", lora=False)
    assert still[:3] == theirs[:3]
    assert still[4:] != pytest.approx(theirs[4:], rel=LOSSES), "the reference moved"


def _another(one):
    """A value that the field takes and that is not its default; None where only some words do."""
    kind, default = str(one.type), one.default
    if default is None or default is dataclasses.MISSING:
        values = {"dict": {"name": 1}, "list": ["name"], "bool": True, "int": 7, "float": 0.37}
        return next((value for word, value in values.items() if word in kind), "name")
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float):
        return default + 3 if isinstance(default, int) else default * 0.5 + 0.01
    return None


@pytest.mark.parametrize("method", ["dpo", "kto", "cpo", "orpo"])
def test_every_argument_of_theirs_changes_the_run_file_or_has_a_word(method, tmp_path):
    file = tmp_path / "trl.yaml"
    named = {"model_name_or_path": "m", "dataset_name": "d.jsonl"}

    def migrated(**arguments):
        file.write_text(yaml.safe_dump(named | arguments))
        found = migrate(file, method=method)
        return json.dumps(found.to_json(), sort_keys=True, default=str)

    kinds_of = (kinds()[method][0], trl().ModelConfig, trl().ScriptArguments)
    fields = {one.name: _another(one) for kind in kinds_of for one in dataclasses.fields(kind)}
    # A loss's name, and its weights, are of use with the right words alone.
    given = {
        name: value
        for name, value in fields.items()
        if value is not None and name not in {*named, "loss_type", "loss_weights"}
    }
    assert len(given) > 100
    plain = migrated()
    assert [name for name, value in given.items() if migrated(**{name: value}) == plain] == []
