"""`rounds:` in a configuration: what is refused, and what the ready recipes say."""

import pytest
import yaml

from truing.config import build_config, read_config
from truing.errors import ConfigError, KnobError
from truing.pairs import parse_selector, read_prompts
from truing.recipes import parse
from truing.responses.parse import parse_sampler, parse_scorer
from truing.training.rounds import Extrapolate, Frozen, Restart, parse_round_reference

MADE = {"prompts": "p.jsonl", "scorer": "world()"}


def config(rounds, **more):
    return build_config({"model": "m", "output": "o", "rounds": rounds, **more})


@pytest.mark.parametrize(
    ("rounds", "more", "message"),
    [
        ({"count": 0}, {"data": "d"}, "count"),
        ({"count": 2, "pairs": "resampled"}, {"data": "d"}, "needs rounds.prompts"),
        ({"count": 2, "prompts": "p"}, {}, "needs rounds.scorer"),
        ({"count": 2, "scorer": "world()"}, {"data": "d"}, "need rounds.prompts"),
        ({"count": 2, "keep_cut": True}, {"data": "d"}, "keep_cut need rounds.prompts"),
        ({"count": 2, **MADE}, {"data": "d"}, "`data` has no effect"),
        ({"count": 2}, {}, "`data` is missing"),
        ({"count": 2}, {"data": "d", "reference": "none()"}, "`reference` has no effect"),
        ({"count": 2, "optimizer": "keep"}, {"data": "d", "lora": True}, "fresh adapters"),
        ({"count": 2, "measure": {"prompts": "p"}}, {"data": "d"}, "needs a scorer"),
        ({"count": 2, "optimiser": "keep"}, {"data": "d"}, "optimiser"),
        ({"count": 2, "measure": {"prompt": "p"}, **MADE}, {}, "prompt"),
    ],
)
def test_a_combination_without_effect_or_sense_is_refused(rounds, more, message):
    with pytest.raises(ConfigError, match=message):
        config(rounds, **more)


def test_a_near_miss_is_suggested():
    with pytest.raises(ConfigError, match="did you mean `optimizer`"):
        config({"count": 2, "optimiser": "keep"}, data="d")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("restart", Restart()),
        ("frozen", Frozen()),
        ("restart()", Restart()),
        ("extrapolate(alpha=0.3)", Extrapolate(0.3)),
        ("extrapolate(0.3)", Extrapolate(0.3)),
    ],
)
def test_policies_of_references_are_read(text, value):
    assert parse_round_reference(text) == value
    assert parse_round_reference(repr(value)) == value


@pytest.mark.parametrize("text", ["thaw", "extrapolate()", "extrapolate(alpha=-1)", "3"])
def test_other_policies_are_refused(text):
    with pytest.raises(KnobError):
        parse_round_reference(text)


def test_the_embedded_model_has_a_name(start):
    assert build_config({"model": "world()", "output": "o", "data": "d"}).model == start


NAMES = ["accelerated", "iterative_dpo", "iterative_rpo", "iterative_sampo", "rebel", "rs_dpo",
         "sppo"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_ready_recipe_is_whole(repository, name):
    found = build_config({**read_config(repository / f"recipes/{name}.yaml"), "output": "o"})
    rounds = found.rounds
    assert rounds is not None
    parse(found.objective)
    parse_scorer(rounds.scorer)
    parse_sampler(rounds.sampler)
    parse_selector(rounds.select)
    parse_round_reference(rounds.reference)
    asked = {prompt.text for prompt in read_prompts(rounds.prompts).asked}
    measured = {prompt.text for prompt in read_prompts(rounds.measure.prompts).asked}
    assert len(measured) >= 300
    assert not asked & measured


def test_every_recipe_on_disk_is_tested(repository):
    on_disk = [p for p in (repository / "recipes").glob("*.yaml") if "rounds" in _keys(p)]
    assert sorted(path.stem for path in on_disk) == NAMES


def _keys(path):
    return yaml.safe_load(path.read_text())


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_a_ready_recipe_improves_the_embedded_model(repository, tmp_path, name):
    from truing import train

    result = train(repository / f"recipes/{name}.yaml", output=str(tmp_path / "run"))
    assert result.evaluation["win_rate_low"] > 0.5
    assert result.evaluation["score"] > result.evaluation["score_before"]
