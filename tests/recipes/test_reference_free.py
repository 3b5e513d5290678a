"""Without a reference: SimPO, AlphaPO, SimPER, CPO, CPO-SimPO, ORPO, SLiC, TPO, maximum PO."""

import math

import pytest

from .longhand import cases, check, prompts_seen
from .rows import (
    GROUPS,
    PROMPTS,
    logsig,
    mean,
    nll,
    over_pairs,
    pairs_of,
    relu,
    sigmoid,
    source_of,
)


@over_pairs
def simpo(yw, yl, beta=2.0, gamma=0.5, loss="sigmoid"):
    z = beta * (yw.Lbar - yl.Lbar) - gamma
    return -logsig(z) if loss == "sigmoid" else relu(1 - z)


@over_pairs
def alphapo(yw, yl, beta=2.5, gamma=0.1, alpha=0.25):
    def reward(y):
        return (1 - math.exp(-alpha * y.Lbar)) / alpha if alpha else y.Lbar

    return -logsig(beta * (reward(yw) - reward(yl)) - gamma)


@over_pairs
def simper(yw, yl):
    return -math.exp(yw.Lbar) + math.exp(yl.Lbar)


def chosen_of(rows):
    return {id(yw): yw for yw, _ in pairs_of(rows)}.values()


def cpo(rows, beta=0.1, alpha=1.0, nll_of="token_mean", loss="sigmoid"):
    gaps = [beta * (yw.L - yl.L) for yw, yl in pairs_of(rows)]
    pair = mean(-logsig(z) if loss == "sigmoid" else relu(1 - z) for z in gaps)
    return pair + alpha * nll(chosen_of(rows), nll_of)


def cpo_simpo(rows, beta=10.0, gamma=5.4, alpha=0.05, nll_of="token_mean"):
    return simpo(rows, beta=beta, gamma=gamma) + alpha * nll(chosen_of(rows), nll_of)


def orpo(rows, lam=0.1, nll_of="with_prompt"):
    def odds(y):
        return y.Lbar - math.log(1 - math.exp(y.Lbar))

    chosen = list(chosen_of(rows))
    if nll_of == "with_prompt":
        # Over prompt and response together, whose first token has no log-prob.
        tokens = sum(len(prompt) for prompt in PROMPTS) + sum(y.n for y in chosen)
        likelihood = -(sum(map(sum, PROMPTS)) + sum(y.L for y in chosen)) / tokens
    else:
        likelihood = nll(chosen, nll_of)
    pair = mean(-logsig(odds(yw) - odds(yl)) for yw, yl in pairs_of(rows))
    return likelihood + lam * pair


def slic(rows, lam, delta=1.0, beta=1.0, source=None):
    pair = mean(relu(delta - beta * (yw.L - yl.L)) for yw, yl in pairs_of(rows))
    return pair + lam * nll(chosen_of(rows) if source is None else source_of(source), "sum")


def tpo(rows, beta=0.01, alpha=1.0, average=False, gamma=0.0, reduction="token_mean", **others):
    def size(y):
        return y.Lbar if average else y.L

    pair = mean(-logsig(beta * (size(yw) - size(yl)) - gamma) for yw, yl in pairs_of(rows))
    return pair + alpha * nll(source_of(others.get("source", "gold")), reduction)


def maximum_po(rows, beta_r, gamma=0.0, average=False, reduction="sum", **sources):
    def size(y):
        return y.Lbar if average else y.L

    chosen = mean(-sigmoid(size(yw) - size(yl)) for yw, yl in pairs_of(rows))
    reference = nll(source_of(sources.get("reference_source", "sft")), reduction)
    pretrain = nll(source_of(sources.get("pretrain_source", "pretrain")), reduction)
    return chosen + beta_r * reference + gamma * pretrain


def named(name, formula, **renamed):
    """The formula under the recipe's name, and knobs that an arithmetic here is called by."""

    def step(rows, **knobs):
        return formula(rows, **{renamed.get(k, k): v for k, v in knobs.items()})

    step.__name__ = name
    return step


CPO = named("cpo", cpo, nll="nll_of")
CPO_SIMPO = named("cpo_simpo", cpo_simpo, nll="nll_of")
ORPO = named("orpo", orpo, nll="nll_of")

REDUCTIONS = ("token_mean", "sequence_mean", "sum")
TPO = {"beta": 0.7, "alpha": 0.4, "gamma": 0.3}
SOURCED = {"reference_source": "gold", "pretrain_source": "sft"}

CASES = [
    *cases(simpo, {}, {"beta": 5.0, "gamma": 1.2}, {"gamma": 0.0}),
    *cases(simpo, *({"beta": b, "loss": "hinge"} for b in (2.0, 0.4))),
    *cases(simpo, {}, rows=GROUPS),
    *cases(alphapo, {}, {"beta": 1.3, "gamma": 0.6, "alpha": -0.5}, {"alpha": 0.0}),
    *cases(simper, {}),
    *cases(simper, {}, rows=GROUPS),
    *cases(CPO, {}, *({"beta": 0.7, "alpha": 0.3, "nll": r} for r in REDUCTIONS)),
    *cases(CPO, *({"beta": 0.7, "loss": f} for f in ("sigmoid", "hinge"))),
    *cases(CPO, *({"nll": r} for r in REDUCTIONS), rows=GROUPS),
    *cases(CPO_SIMPO, {}, *({"beta": 1.5, "gamma": 0.6, "nll": r} for r in REDUCTIONS)),
    *cases(CPO_SIMPO, {"alpha": 0.9}),
    *cases(ORPO, {}, {"lam": 0.8}, fields=prompts_seen()),
    *cases(ORPO, *({"lam": 0.8, "nll": r} for r in REDUCTIONS[:2])),
    *cases(slic, {"lam": 0.1}, {"lam": 0.7, "delta": 2.5, "beta": 0.4}, {"lam": 0.0}),
    *cases(slic, *({"lam": 0.7, "source": s} for s in ("sft", "gold"))),
    *cases(tpo, {}, *({**TPO, "reduction": r} for r in REDUCTIONS), {**TPO, "average": True}),
    *cases(tpo, {**TPO, "source": "sft"}),
    *cases(maximum_po, {"beta_r": 0.1}, {"beta_r": 0.6, "gamma": 0.3}, {"beta_r": 0.0}),
    *cases(maximum_po, *({"beta_r": 0.6, "gamma": 0.3, "reduction": r} for r in REDUCTIONS)),
    *cases(maximum_po, {"beta_r": 0.6, "gamma": 0.3, "average": True, **SOURCED}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_the_papers(case):
    check(case)
