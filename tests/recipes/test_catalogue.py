"""Every recipe of the shelf has its formula here in longhand, each knob at two values."""

import importlib
from pathlib import Path

from truing.recipes import shelf
from truing.recipes._recipe import SHELF

# Knobs whose two values differ in no loss at all of ordinary rows; a test of its own shows each.
ELSEWHERE = {
    ("sampo", "keep_end"),  # test_sampo.py: the end token is always among them
    ("sampled", "keep_end"),
    ("hpo", "detach_trunk"),  # test_mixtures.py: says whose gradient moves the model
}


def written_cases():
    files = sorted(Path(__file__).parent.glob("test_*.py"))
    modules = [importlib.import_module(f".{file.stem}", __package__) for file in files]
    return [case for module in modules for case in getattr(module, "CASES", ())]


def values_tried(name, knob, default):
    settings = [case.knobs for case in written_cases() if case.name == name]
    return {repr(knobs.get(knob, default)) for knobs in settings}


def test_every_recipe_has_a_formula():
    assert {case.name for case in written_cases()} == set(SHELF)


def test_every_knob_is_tried_at_two_values():
    tried_once = [
        f"{recipe.name}({knob.name}=)"
        for recipe in SHELF.values()
        for knob in recipe.knobs
        if (recipe.name, knob.name) not in ELSEWHERE
        and len(values_tried(recipe.name, knob.name, knob.default)) < 2
    ]
    assert not tried_once


def test_every_choice_of_a_knob_is_tried():
    missing = [
        f"{entry.name}({knob.name}={choice})"
        for entry in shelf()
        for knob in entry.knobs
        if knob.kind.startswith("one of ")
        for choice in knob.kind.removeprefix("one of ").split(" or ")[0].split(", ")
        if choice not in values_tried(entry.name, knob.name, SHELF[entry.name].build)
        and choice != knob.default
    ]
    assert not missing
