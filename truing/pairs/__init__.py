"""Who stands against whom: prompts sampled, responses scored, pairs selected, all of it kept."""

from truing.pairs.build import MANIFEST, ROWS, SAMPLES, Plan, Stages
from truing.pairs.existing import Folder
from truing.pairs.prompts import Prompts, read_prompts
from truing.pairs.rows import picked_rows, write_rows
from truing.pairs.select import SELECTORS, Selector, parse_selector

__all__ = [
    "Folder",
    "MANIFEST",
    "Plan",
    "Prompts",
    "ROWS",
    "SAMPLES",
    "SELECTORS",
    "Selector",
    "Stages",
    "parse_selector",
    "picked_rows",
    "read_prompts",
    "write_rows",
]
