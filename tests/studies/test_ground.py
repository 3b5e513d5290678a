"""What a study stands on: rows and prompts that do not mix, named by content."""

import json
from dataclasses import replace

import pytest

from truing.engine.models import load_tokenizer
from truing.errors import ConfigError
from truing.studies.ground import Ground, facts, stored
from truing.studies.runner import Request, plan_cells
from truing.studies.shelf import MAIN, shelf, study_named
from truing.studies.study import Rows, Setting, least
from truing.world import model_folder

PLAN = least(Setting("DPO", "dpo()"))


def test_every_study_is_a_file_of_its_own_and_has_every_scale():
    assert list(shelf())[: len(MAIN)] == list(MAIN)
    for name, study in shelf().items():
        assert study.name == name
        assert set(study.plans) == {"smoke", "small", "full"}
        assert study.claims
        assert len(study.plans["small"].seeds) == 3


def test_methods_of_a_grid_have_as_many_values_each_to_be_tuned_by():
    # Where a claim is about best values: the budget is the same, or the study says it is not.
    for name in ("odpo", "minor_dpo", "averaging", "reference_policies", "ipo", "exo", "mrpo"):
        counts = {}
        for setting in study_named(name).plans["small"].settings:
            key = (setting.arm, setting.method)
            counts[key] = counts.get(key, 0) + 1
        by_arm = {}
        for (arm, _), count in counts.items():
            by_arm.setdefault(arm, set()).add(count)
        assert all(len(found) == 1 for found in by_arm.values()), name


def test_an_unknown_study_or_scale_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean sampo"):
        study_named("sampa")
    from truing.studies.shelf import scale_named

    with pytest.raises(ConfigError, match="smoke, small, full"):
        scale_named("big")


def test_nobody_learns_from_a_prompt_that_is_tuned_or_tested_on():
    ground = Ground()
    plan = replace(PLAN, tuning_prompts=200, test_prompts=1000, held=300)
    tuning, test, train = (
        {one["prompt"] for one in ground.prompts(split, plan, count)}
        for split, count in (("tuning", 200), ("test", 1000), ("train", 1000))
    )
    assert not tuning & test
    assert not train & (tuning | test)
    rows = {row["prompt"] for row in ground.rows(Setting("a"), replace(plan, pairs=500), 0)}
    assert rows < {one["prompt"] for one in ground.prompts("train", plan, 4000)}
    assert {row["prompt"] for row in ground.held(plan)} <= test | {
        one["prompt"] for one in ground.prompts("test", plan, 1200)
    }


def test_scores_are_moved_up_together():
    setting = Setting("a", rows=Rows(20, selection="random", temperature=0.0))
    moved = replace(setting, rows=replace(setting.rows, shift=7.0))
    one, other = (Ground().rows(each, PLAN, 0) for each in (setting, moved))
    for low, high in zip(one, other, strict=True):
        assert high["score_chosen"] - low["score_chosen"] == pytest.approx(7.0)
        assert high["score_rejected"] > 0


def test_the_push_on_the_end_token_is_counted_as_the_draw_leaves_it():
    tokenizer = load_tokenizer(str(model_folder()))
    texts = ["It is good.", "It is good. I would say that it is good. It is good."]
    short, long = (len(tokenizer(text)["input_ids"]) + 1 for text in texts)
    rows = [{"prompt": "p", "chosen": texts[1], "rejected": texts[0]}]
    found = facts(rows, tokenizer)
    assert found["data_end_push"] == pytest.approx(short / long - 1)
    assert found["data_longer_wins"] == 1
    turned = [{"prompt": "p", "chosen": texts[0], "rejected": texts[1]}]
    assert facts([*rows, *turned], tokenizer)["data_end_push"] == pytest.approx(0)
    assert facts([{"prompt": "p", "responses": texts}], tokenizer) == {}


def test_a_file_is_named_by_its_content(tmp_path):
    first, key = stored([{"a": 1}], tmp_path)
    assert stored([{"a": 1}], tmp_path) == (first, key)
    assert stored([{"a": 2}], tmp_path)[1] != key
    assert json.loads(first.read_text()) == {"a": 1}


def keys_of(study, output):
    planned, _ = plan_cells(Request(study, "smoke", output))
    return {(one.setting.method, one.setting.value): one.job.key for one in planned}


def test_a_changed_declaration_makes_anew_what_it_changed_and_nothing_else(tmp_path):
    study = study_named("sampo")
    plan = study.plans["smoke"]
    first, *rest = plan.settings
    changed = replace(first, objective="dpo(beta=0.2)")
    other = replace(study, plans={"smoke": replace(plan, settings=(changed, *rest))})
    before, after = keys_of(study, tmp_path), keys_of(other, tmp_path)
    assert {name for name in before if before[name] != after[name]} == {(first.method, first.value)}
    assert keys_of(study, tmp_path / "elsewhere") == before


# ------------------------------------------------------------------ a model of one's own


@pytest.fixture
def own_pairs(tmp_path):
    path = tmp_path / "own.jsonl"
    rows = [
        {
            "prompt": f"Question {n % 40}?",
            "chosen": f"Yes, {'very ' * (n % 7)}{n}.",
            "rejected": "No.",
        }
        for n in range(80)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_own_pairs_are_parted_by_prompt(own_pairs):
    ground = Ground(str(model_folder()), str(own_pairs))
    plan = replace(PLAN, held=4)
    parts = [{one["prompt"] for one in ground.prompts(split, plan, 2)} for split in
             ("train", "tuning", "test")]  # fmt: skip
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    rows = ground.rows(Setting("a", rows=Rows(8, noise=1.0)), plan, 0)
    assert all(row["chosen"] == "No." for row in rows)
    shorter = Setting("a", rows=Rows(8, subset="shorter"))
    with pytest.raises(ConfigError, match="8 rows to learn from are asked for, and there are 0"):
        ground.rows(shorter, plan, 0)


def test_what_the_world_alone_has_is_left_out_with_a_word(own_pairs):
    ground = Ground(str(model_folder()), str(own_pairs))
    assert "dial of length" in ground.missing(Setting("a", rows=Rows(length_bias=0.5)))
    stronger = Setting("a", keys={"reference": "model(path='{stronger}')"})
    assert "embedded" in ground.missing(stronger)
    assert "--score" in ground.missing(Setting("a", best_of=2))
    assert not ground.missing(Setting("a", "dpo()"))


@pytest.mark.parametrize("given", [{"model": "m"}, {"data": "d"}, {"score": "length()"}])
def test_half_a_ground_is_refused(given):
    with pytest.raises(ConfigError):
        Ground(**given)


def test_a_part_of_a_plan_is_named_and_wrong_names_are_answered(tmp_path):
    request = Request(
        study_named("sampo"), "small", tmp_path,
        methods=("DPO", "SamPO"), arms=("fair",), changes={"pairs": "20", "learning_rate": "1e-5"},
    )  # fmt: skip
    assert {(one.method, one.arm) for one in request.plan.settings} == {
        ("DPO", "fair"), ("SamPO", "fair"),
    }  # fmt: skip
    assert (request.plan.pairs, request.plan.learning_rate) == (20, 1e-5)
    assert request.is_part
    for wrong in ({"methods": ("SamP",)}, {"arms": ("unfair",)}, {"changes": {"pears": "3"}},
                  {"changes": {"pairs": "many"}}):  # fmt: skip
        with pytest.raises(ConfigError):
            Request(study_named("sampo"), "small", tmp_path, **wrong).plan  # noqa: B018
