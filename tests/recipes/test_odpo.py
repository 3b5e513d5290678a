"""ODPO, REBEL and SPPO: margins and targets from scores and from win rates."""

import math

import pytest

from .longhand import cases, check
from .rows import GROUPS, logsig, over_pairs


@over_pairs
def odpo(yw, yl, beta=0.1, alpha=1.0, scale="log"):
    f = {
        "log": math.log(yw.score - yl.score),
        "identity": yw.score - yl.score,
        "logratio": math.log(yw.score) - math.log(yl.score),
    }[scale]
    return -logsig(beta * (yw.r - yl.r) - alpha * f)


@over_pairs
def rebel(yw, yl, eta=1e6):
    return (yw.r - yl.r - eta * (yw.score - yl.score)) ** 2


@over_pairs
def sppo(yw, yl, beta=1e-3, hard=False, halved=True, single=False):
    up = 1.0 if hard else yw.wins
    down = 0.0 if hard else yl.wins
    down = 1 - up if single else down
    squares = (yw.r - (up - 0.5) / beta) ** 2 + (yl.r - (down - 0.5) / beta) ** 2
    return squares / 2 if halved else squares


CASES = [
    *cases(odpo, {}, {"beta": 0.7, "alpha": 0.3}, {"alpha": 0.0}),
    *cases(odpo, *({"scale": s, "alpha": a} for s in ("identity", "logratio") for a in (1.0, 0.4))),
    *cases(odpo, {"beta": 0.7}, {"scale": "identity"}, {"scale": "logratio"}, rows=GROUPS),
    *cases(rebel, {}, {"eta": 2.0}),
    *cases(sppo, {}, {"beta": 0.2}, {"beta": 0.2, "halved": False}, {"beta": 0.2, "single": True}),
    *cases(sppo, {"hard": True}, {"beta": 0.2, "hard": True, "halved": False}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)
