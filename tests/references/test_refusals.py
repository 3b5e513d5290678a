"""What a run cannot do with its references is said before any model loads, and before the data."""

import json
from pathlib import Path

import pytest

from truing import train
from truing.engine.frozen import refuse_unloadable
from truing.engine.models import choose_numerics, is_hub_name
from truing.errors import ConfigError, ModelError
from truing.jobs.check import check
from truing.jobs.check_cost import cost_of
from truing.jobs.material import gather


@pytest.fixture
def keys(start, pairs, tmp_path):
    return {"model": start, "data": str(pairs), "output": str(tmp_path / "run")}


@pytest.mark.parametrize("path", ["./nowhere", "/no/such/model", "../x", "a/b/c", "~/m", "m.gguf"])
def test_a_path_where_nothing_lies_is_an_error_at_once(keys, path):
    # The data is not there either: the reference is looked at first.
    with pytest.raises(ModelError, match="no such folder or file") as found:
        train(**keys | {"data": "nowhere.jsonl"}, reference=f"model(path={path!r})")
    assert found.value.where == path


def test_a_hub_name_without_a_network_is_looked_for_on_this_machine_alone(keys):
    with pytest.raises(ModelError, match="no model of this name could be had"):
        train(**keys, reference="model(path='nobody/nothing')")


@pytest.mark.parametrize("name", ["gpt2", "Qwen/Qwen3-0.6B", "a/b_c.d"])
def test_names_of_the_hub_are_no_paths(name):
    assert is_hub_name(name)


@pytest.mark.parametrize(
    ("knobs", "what"),
    [
        ({"revision": "main"}, "only names of the model hub have revisions"),
        ({"offload": "cpu"}, "no effect where the model computes on the CPU"),
    ],
)
def test_a_knob_without_effect_is_refused(start, knobs, what):
    device = choose_numerics("float32").device
    given = {"revision": None, "quantisation": "none", "offload": "none", **knobs}
    if knobs.get("offload") == "cpu" and device.type != "cpu":
        pytest.skip("the model computes on a GPU")
    with pytest.raises(ModelError, match=what):
        refuse_unloadable(start, device, **given)


def test_a_gguf_file_is_not_quantised_again(tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"")
    device = choose_numerics("float32").device
    with pytest.raises(ModelError, match="brings its own"):
        refuse_unloadable(str(file), device, revision=None, quantisation="nf4", offload="none")


def test_adapters_whose_base_is_gone_are_refused(tmp_path):
    description = {"base_model_name_or_path": str(tmp_path / "gone")}
    (tmp_path / "adapter_config.json").write_text(json.dumps(description))
    device = choose_numerics("float32").device
    with pytest.raises(ModelError, match="no such folder") as found:
        refuse_unloadable(str(tmp_path), device, revision=None, quantisation="none", offload="none")
    assert Path(found.value.where).name == "gone"


@pytest.mark.parametrize(
    ("reference", "more", "is_refused"),
    [
        ("sync(every=4)", {}, True),
        ("sync(every=3)", {}, False),
        ("ema(decay=0.4, every=8)", {"epochs": 2.0}, True),
        ("ema(decay=0.4, every=7)", {"epochs": 2.0}, False),
        ("tr_dpo_hard()", {"trainer": {"max_steps": 513}}, False),
        ("sync(every=3)", {"trainer": {"max_steps": 3}}, True),
    ],
)
def test_a_reference_that_would_follow_after_the_last_step_only(keys, reference, more, is_refused):
    found = check({**keys, "pairs_per_step": 4, "reference": reference, **more})
    assert [type(fault) for fault in found.faults] == [ConfigError] * is_refused
    assert all("has no effect: the run has" in fault.what for fault in found.faults)


@pytest.mark.parametrize(
    ("more", "has_copy"),
    [
        ({}, False),
        ({"reference": "ema(decay=0.5)"}, True),
        ({"reference": "ema(decay=0.5)", "lora": {"rank": 2}}, False),
        ({"objective": "tdpo()"}, True),
    ],
)
def test_a_second_copy_of_the_weights_is_in_the_forecast(keys, more, has_copy):
    from truing.config import build_config
    from truing.core.progress import SILENT

    config = build_config(keys | {"pairs_per_step": 4} | more)
    cost = cost_of(config, gather(config, SILENT, strict=False, skip_bad=None))
    assert bool(cost.memory["other models"]) == has_copy
