"""EXO, InfoNCA and NCA: pairs, and K responses with scores."""

import math

import pytest

from .longhand import cases, check
from .rows import GROUPS, PAIRS, logsig, mean, pairs_of, sigmoid


def softmax(values):
    values = list(values)
    top = max(values)
    shares = [math.exp(v - top) for v in values]
    return [share / sum(shares) for share in shares]


def exo(rows, beta=0.1, beta_reward=None, epsilon=1e-3, normalized=True):
    if beta_reward is not None:
        return mean(exo_of_scores(row, beta, beta_reward) for row in rows)
    return mean(exo_of_pair(beta * (w.r - lo.r), epsilon, normalized) for w, lo in pairs_of(rows))


def exo_of_pair(z, epsilon, normalized):
    log_p = (math.log(1 - epsilon), math.log(epsilon)) if normalized else (0.0, math.log(epsilon))
    q = (sigmoid(z), sigmoid(-z))
    return sum(a * (math.log(a) - log_b) for a, log_b in zip(q, log_p, strict=True))


def exo_of_scores(row, beta, beta_reward):
    q = softmax(beta * y.r for y in row)
    p = softmax(y.score / beta_reward for y in row)
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(q, p, strict=True))


def shares_of(row, alpha, first_bonus):
    scores = [y.score + (first_bonus if i == 0 else 0.0) for i, y in enumerate(row)]
    return softmax(score / alpha for score in scores)


def infonca(rows, beta=0.01, alpha=None, first_bonus=0.0):
    if alpha is None:
        return mean(-logsig(beta * (yw.r - yl.r)) for yw, yl in pairs_of(rows))

    def of_row(row):
        q = softmax(beta * y.r for y in row)
        wanted = shares_of(row, alpha, first_bonus)
        return -sum(share * math.log(a) for share, a in zip(wanted, q, strict=True))

    return mean(of_row(row) for row in rows)


def nca(rows, beta=0.01, alpha=None, first_bonus=0.0):
    def of_pair(bw, bl):
        return -logsig(bw) - 0.5 * logsig(-bw) - 0.5 * logsig(-bl)

    def of_row(row):
        wanted = shares_of(row, alpha, first_bonus)
        up = sum(share * logsig(beta * y.r) for share, y in zip(wanted, row, strict=True))
        return -up - mean(logsig(-beta * y.r) for y in row)

    if alpha is None:
        return mean(of_pair(beta * yw.r, beta * yl.r) for yw, yl in pairs_of(rows))
    return mean(of_row(row) for row in rows)


SCORED = [{"alpha": 0.5}, {"beta": 0.7, "alpha": 2.0}]
BONUS = [{"beta": 0.7, "alpha": 0.5, "first_bonus": b} for b in (0.01, 0.8)]

CASES = [
    *cases(exo, {}, {"beta": 0.7}, {"beta": 0.7, "epsilon": 0.2}),
    *cases(exo, *({"beta": 0.7, "epsilon": e, "normalized": False} for e in (0.1, math.exp(-10)))),
    *cases(exo, *({"beta": b, "beta_reward": c} for b, c in ((0.1, 0.7), (0.7, 0.4))), rows=GROUPS),
    *cases(exo, {"beta": 0.7, "beta_reward": 0.4}, rows=PAIRS),
    *cases(infonca, {}, {"beta": 0.7}),
    *cases(infonca, *SCORED, *BONUS, rows=GROUPS),
    *cases(nca, {}, {"beta": 0.7}),
    *cases(nca, *SCORED, *BONUS, rows=GROUPS),
    *cases(nca, {"beta": 0.7, "alpha": 0.5}, rows=PAIRS),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)
