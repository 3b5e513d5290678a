"""Other divergences to the reference: f-DPO, H-DPO, chi2-PO."""

import math
from dataclasses import replace

import pytest

from .longhand import cases, check
from .rows import GROUPS, PAIRS, clip, logsig, over_pairs


@over_pairs
def f_dpo(yw, yl, beta=0.1, divergence="reverse_kl", alpha=None):
    link = {
        "reverse_kl": lambda r: r,
        "forward_kl": lambda r: 1 - math.exp(-r),
        "js": lambda r: math.log(2) + logsig(r),
        "alpha": lambda r: (1 - math.exp(-alpha * r)) / alpha,
    }[divergence]
    return -logsig(beta * link(yw.r) - beta * link(yl.r))


@over_pairs
def h_dpo(yw, yl, alpha, beta=0.1):
    return -logsig(beta * (alpha * (yw.L - yl.L) - (yw.L_ref - yl.L_ref)))


@over_pairs
def chi2po(yw, yl, beta=0.05, r_max=None, clip_of="difference", gamma=1.0):
    def reward(y):
        return beta * (gamma * math.exp(clip(y.r, -88, 20)) + y.r)

    w, lo = reward(yw), reward(yl)
    if r_max is None:
        return -logsig(w - lo)
    if clip_of == "difference":
        return -logsig(clip(w - lo, -2 * r_max, 2 * r_max))
    return -logsig(clip(w, -r_max, r_max) - clip(lo, -r_max, r_max))


def chi2po_named(rows, clip="difference", **knobs):
    """The recipe's knob `clip` is called as the function is."""
    return chi2po(rows, clip_of=clip, **knobs)


chi2po_named.__name__ = "chi2po"

# One chosen response 25 nats above the reference: exp(r) is cut off there, r itself is not.
FAR = ((replace(PAIRS[0][0], references=((-12.9, -13.8),)), PAIRS[0][1]), *PAIRS[1:])

CASES = [
    *cases(f_dpo, {}, *({"divergence": d} for d in ("forward_kl", "js"))),
    *cases(f_dpo, *({"divergence": d, "beta": 0.7} for d in ("reverse_kl", "forward_kl", "js"))),
    *cases(f_dpo, *({"divergence": "alpha", "alpha": a, "beta": 0.7} for a in (0.3, 0.8))),
    *cases(f_dpo, {"divergence": "js"}, rows=GROUPS),
    *cases(h_dpo, {"alpha": 0.95}, {"alpha": 1.3, "beta": 0.7}),
    *cases(chi2po_named, {}, {"beta": 0.7}, {"beta": 0.7, "gamma": 0.3}),
    *cases(chi2po_named, *({"beta": 0.7, "r_max": r} for r in (0.4, 1.5, 50.0))),
    *cases(chi2po_named, *({"beta": 0.7, "r_max": r, "clip": "each_side"} for r in (0.4, 1.5))),
    *cases(chi2po_named, {"beta": 1e-9}, {"beta": 1e-9, "gamma": 0.3}, rows=FAR, references=1),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)
