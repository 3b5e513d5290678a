"""Objectives from text: "odpo(beta=0.1) + 0.2*sft()" in YAML and on the command line."""

from collections.abc import Callable
from inspect import isabstract
from typing import Any

from truing import objectives
from truing.core import language
from truing.errors import KnobError
from truing.objectives import Objective, Part
from truing.recipes._recipe import SHELF

HINTS = {
    "apo": "apo_zero() and apo_down() are the anchored losses; accelerated PO is the rounds' "
    "policy extrapolate(alpha)",
    "mpo": "maximum_po() is Maximum Preference Optimization, mixed_po() is dpo, bco and sft mixed",
    "rdpo": "robust_dpo() is for flipped labels, r_dpo() for length",
    "sigmoid": "write dpo()",
    "sigmoid_norm": "write averaged(dpo(beta=5.0))",
    "dpo_norm": "write averaged(dpo(beta=5.0))",
    "exo_pair": "write exo()",
    "nca_pair": "write nca()",
    "bco_pair": 'write bco(shift="none")',
    "sppo_hard": "write sppo(hard=True)",
    "aot_unpaired": "write aot(paired=False)",
    "robust": "write robust_dpo()",
    "chipo": "write chi2po()",
    "tdpo1": "write tdpo(version=1)",
    "tdpo2": "write tdpo(version=2)",
    "refdpo": "dpo(), posterior() and likelihood_ratio() are its three rewards",
    "nll": "write sft()",
    "rs_dpo": "RS-DPO's loss is dpo(); its pairs are made by the selector rs_dpo(eta, tau)",
    "tr_dpo": "TR-DPO's loss is dpo(); its reference is ema(...) or sync(...)",
    "rso": "write hinge()",
    "upo": "write hpo(...)",
}
"""Names that mean several things, or are called otherwise elsewhere, and what to write here."""


def names() -> dict[str, Callable[..., Any]]:
    """All that an objective's expression may call: recipes, and the parts they are made of."""
    public = {name: getattr(objectives, name) for name in objectives.__all__}
    kinds = {name: kind for name, kind in public.items() if isinstance(kind, type)}
    parts = {n: k for n, k in kinds.items() if issubclass(k, Part) and not isabstract(k)}
    return {**parts, **{name: recipe.function for name, recipe in SHELF.items()}}


def parse(text: str) -> Objective:
    """The objective that an expression stands for; `parse(repr(objective)) == objective`.

    Raises:
        KnobError: an unknown or ambiguous name, a wrong, missing or out-of-range argument, or a
            value that is not an objective.
    """
    value = language.parse(text, names(), HINTS)
    if not isinstance(value, Objective):
        raise KnobError(
            f"this is {'a part' if isinstance(value, Part) else 'a value'}, not an objective",
            where=text.strip(),
            fix="write a recipe such as dpo(beta=0.1), or put the part into Pairwise(...)",
        )
    return value
