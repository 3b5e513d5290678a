"""`truing migrate`: the run file trains to the same losses as the arguments that it was made of."""

import numpy as np
import pytest
import yaml

from truing.jobs.migrate import migrate

from .sides import LORA, SETTINGS, run_ours, run_theirs, theirs_of
from .test_losses import LOSSES

FILES = {
    "mpo": {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]},
    "hinge": {"loss_type": "hinge", "beta": 0.05, "warmup_steps": 3},
}
ADAPTERS = {
    "use_peft": True,
    "lora_r": LORA["rank"],
    "lora_alpha": LORA["alpha"],
    "lora_target_modules": LORA["targets"],
    "lora_dropout": 0.0,
}


@pytest.mark.parametrize("name", FILES)
def test_a_migrated_file_trains_to_their_losses(name, home, tmp_path):
    arguments = FILES[name]
    settings = {**SETTINGS, "per_device_train_batch_size": 4, "bf16": False, "max_length": None}
    file = tmp_path / "trl.yaml"
    order = {"train_sampling_strategy": "sequential", "model_name_or_path": home.model}
    file.write_text(yaml.safe_dump({**arguments, **settings, **ADAPTERS, **order}))
    trainer = theirs_of(
        "dpo",
        home.policy(),
        None,
        home.tokenizer,
        home.conversational,
        lora=True,
        **{**arguments, "max_length": None},
    )
    theirs = run_theirs(trainer)
    keys = dict(migrate(file).keys)
    ours = run_ours({k: v for k, v in keys.items() if k != "output"}, home.conversational)
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=LOSSES, atol=1e-4)
