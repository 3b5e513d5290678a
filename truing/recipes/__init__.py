"""The papers: one small function each, returning an objective."""

from truing.recipes._recipe import Recipe, recipe
from truing.recipes.apo import apo_down, apo_zero
from truing.recipes.averaged import averaged
from truing.recipes.chi2 import chi2po
from truing.recipes.coupled import alpha_dpo, aot, beta_dpo, dr_dpo
from truing.recipes.cpo import cpo, cpo_simpo, tpo
from truing.recipes.displacement import bpo, c2_dpo, cal_dpo, dpo_shift, dpop
from truing.recipes.dpo import cdpo, dpo, robust_dpo
from truing.recipes.exo import exo
from truing.recipes.fdpo import f_dpo, h_dpo
from truing.recipes.hinge import hinge, slic
from truing.recipes.hpo import hpo
from truing.recipes.humanline import humanline
from truing.recipes.ipo import ipo
from truing.recipes.kto import bco, kto, kto_pair
from truing.recipes.length import d2po, ld_dpo, r_dpo
from truing.recipes.minor import minor_dpo, minor_sft
from truing.recipes.mpo import maximum_po, mixed_po
from truing.recipes.mrpo import mrpo
from truing.recipes.nca import infonca, nca
from truing.recipes.odpo import odpo
from truing.recipes.orpo import orpo
from truing.recipes.parse import parse
from truing.recipes.refdpo import likelihood_ratio, posterior
from truing.recipes.rpo import iterative_rpo, rpo
from truing.recipes.sampo import sampled, sampo
from truing.recipes.selfplay import rebel, sppo
from truing.recipes.sft import sft
from truing.recipes.shapes import discopop, focalpo, gpo, spo
from truing.recipes.shelf import Entry, Knob, shelf
from truing.recipes.simpo import alphapo, simper, simpo
from truing.recipes.vocabulary import tdpo, wpo

__all__ = [
    "Entry",
    "Knob",
    "Recipe",
    "alpha_dpo",
    "alphapo",
    "aot",
    "apo_down",
    "apo_zero",
    "averaged",
    "bco",
    "beta_dpo",
    "bpo",
    "c2_dpo",
    "cal_dpo",
    "cdpo",
    "chi2po",
    "cpo",
    "cpo_simpo",
    "d2po",
    "discopop",
    "dpo",
    "dpo_shift",
    "dpop",
    "dr_dpo",
    "exo",
    "f_dpo",
    "focalpo",
    "gpo",
    "h_dpo",
    "hinge",
    "hpo",
    "humanline",
    "infonca",
    "ipo",
    "iterative_rpo",
    "kto",
    "kto_pair",
    "ld_dpo",
    "likelihood_ratio",
    "maximum_po",
    "minor_dpo",
    "minor_sft",
    "mixed_po",
    "mrpo",
    "nca",
    "odpo",
    "orpo",
    "parse",
    "posterior",
    "r_dpo",
    "rebel",
    "recipe",
    "robust_dpo",
    "rpo",
    "sampled",
    "sampo",
    "sft",
    "shelf",
    "simper",
    "simpo",
    "slic",
    "spo",
    "sppo",
    "tdpo",
    "tpo",
    "wpo",
]
