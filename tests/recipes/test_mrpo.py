"""MRPO: several references as one, clipped around the base, weighted per pair."""

import math

import pytest

from .longhand import cases, check
from .rows import clip, logsig, mean, pairs_of


def sums(y, number):
    return [sum(tokens) for tokens in y.references[:number]]


def weights_of(yw, yl, alpha, number):
    """Of the base and of each extra reference; from unclipped references."""
    if alpha == "adaptive":
        gaps = [abs(a - b) for a, b in zip(sums(yw, number), sums(yl, number), strict=True)]
        extra = [gap / (sum(gaps) + 1e-6) for gap in gaps[1:]]
    else:
        extra = list(alpha) if isinstance(alpha, list) else [alpha]
    return [1 - sum(extra), *extra]


def clipped(yw, yl, eta, how, number):
    """Of both sides, the sums of every reference, the extra ones near the base."""
    size = [abs(mean(sums(y, number))) for y in (yw, yl)]
    sides = []
    for y, share in zip((yw, yl), (s / sum(size) for s in size), strict=True):
        base, *extra = sums(y, number)
        e = {"adaptive": eta * share, "fixed": eta, "none": math.inf}[how]
        # Log-probs are negative, so the base times 1 + e is the lower bound.
        sides.append([base, *(clip(x, base * (1 + e), base * (1 - e)) for x in extra)])
    return sides


def virtual(sums_of_one, weights):
    """The weighted harmonic mean of probabilities, in nats."""
    shares = [w * math.exp(-s) for w, s in zip(weights, sums_of_one, strict=True)]
    return -math.log(sum(shares))


def mrpo(
    rows, beta=0.1, alpha="adaptive", eta=0.1, clip="adaptive", form="harmonic", crossed=False
):
    number = 3 if isinstance(alpha, list) else 2

    def of_pair(yw, yl):
        weights = weights_of(yw, yl, alpha, number)
        w_refs, l_refs = clipped(yw, yl, eta, clip, number)
        if form == "separate":
            each = [
                -logsig(beta * (yw.L - a - yl.L + b)) for a, b in zip(w_refs, l_refs, strict=True)
            ]
            return sum(weight * loss for weight, loss in zip(weights, each, strict=True))
        weights = weights[::-1] if crossed else weights
        w_ref, l_ref = virtual(w_refs, weights), virtual(l_refs, weights)
        return -logsig(beta * (yw.L - w_ref - yl.L + l_ref))

    return mean(of_pair(yw, yl) for yw, yl in pairs_of(rows))


CLIPS = [{"beta": 0.7, "clip": c, "eta": e} for c in ("adaptive", "fixed") for e in (0.1, 0.02)]
FIXED = [{**clip, "alpha": alpha} for clip in CLIPS for alpha in (0.1, 0.6)]
NONE = [{"beta": 0.7, "clip": "none"}, {"beta": 0.7, "clip": "none", "alpha": 0.3}]
SEPARATE = [{**knobs, "form": "separate"} for knobs in (*FIXED, NONE[1])]

CASES = [
    *cases(mrpo, {}, *CLIPS, *FIXED, *NONE, *SEPARATE),
    *cases(mrpo, {"crossed": True}, {"beta": 0.7, "alpha": 0.1, "crossed": True}),
    *cases(mrpo, {"beta": 0.7, "alpha": [0.2, 0.3]}, references=3),
    *cases(mrpo, {"beta": 0.7, "alpha": [0.2, 0.3], "form": "separate"}, references=3),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)
