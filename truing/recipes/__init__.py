"""The papers: one small function each, returning an objective."""

from truing.recipes.averaged import averaged
from truing.recipes.dpo import cdpo, dpo, robust_dpo
from truing.recipes.hinge import hinge
from truing.recipes.ipo import ipo
from truing.recipes.minor import minor_dpo
from truing.recipes.odpo import odpo
from truing.recipes.parse import parse
from truing.recipes.refdpo import likelihood_ratio, posterior
from truing.recipes.sampo import sampled, sampo
from truing.recipes.sft import sft
from truing.recipes.simpo import simpo

__all__ = [
    "averaged",
    "cdpo",
    "dpo",
    "hinge",
    "ipo",
    "likelihood_ratio",
    "minor_dpo",
    "odpo",
    "parse",
    "posterior",
    "robust_dpo",
    "sampled",
    "sampo",
    "sft",
    "simpo",
]
