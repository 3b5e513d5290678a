"""The table of the docs is what the shelf holds."""

import importlib.util
import re
from pathlib import Path

from truing.recipes._recipe import SHELF

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "objectives.md"
# Names of the docs that are no recipes: parts of the worked example, and of the language.
CALLED_ELSEWHERE = {"cauchy_dpo", "part", "gradients", "injected", "parse", "max", "log", "shelf"}


def script():
    spec = importlib.util.spec_from_file_location("catalogue", ROOT / "examples" / "catalogue.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_catalogue_is_current():
    catalogue = script()
    page = PAGE.read_text(encoding="utf-8")
    shown = page.split(catalogue.BEGIN)[1].split(catalogue.END)[0].strip()
    assert shown == catalogue.table(), "run: python examples/catalogue.py --write"


def test_what_the_docs_call_by_name_is_there():
    page = PAGE.read_text(encoding="utf-8").split("## The catalogue")[0]
    table = "\n".join(line for line in page.splitlines() if line.startswith("|"))
    names = {name for name in re.findall(r"`([a-z]\w*)\b", table) if "_" in name or len(name) < 8}
    knobs = {knob.name for recipe in SHELF.values() for knob in recipe.knobs}
    others = {"p", "truing", "beta", "eta", "bco_pair", "sppo_hard"}
    assert names - knobs - others <= set(SHELF)
