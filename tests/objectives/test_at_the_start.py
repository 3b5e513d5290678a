"""The loss of every recipe where a run begins: the policy agrees with every reference."""

import math

import pytest
import torch

from truing.core.view import View
from truing.recipes._recipe import SHELF
from truing.testing import at_start, sample_view

LOG2 = math.log(2)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def of_pairs(view: View, values) -> list[tuple[float, float]]:
    return [(float(values[w]), float(values[rejected])) for w, rejected in view.pairs.tolist()]


def sums_of(view: View, tokens) -> list[float]:
    return [float(tokens[view.response == i].sum()) for i in range(view.num_responses)]


def sums(view: View) -> list[tuple[float, float]]:
    return of_pairs(view, sums_of(view, view.policy.detach()))


def lengths(view: View) -> list[tuple[float, float]]:
    return of_pairs(view, view.lengths)


def scores(view: View) -> list[tuple[float, float]]:
    return of_pairs(view, view.scores)


def nll_per_token(view: View) -> float:
    return -sum(w for w, _ in sums(view)) / sum(n for n, _ in lengths(view))


def bars(view: View) -> list[tuple[float, float]]:
    pairs = zip(sums(view), lengths(view), strict=True)
    return [(w / nw, lo / nl) for (w, lo), (nw, nl) in pairs]


def divergences(view: View) -> list[tuple[float, float]]:
    return of_pairs(view, sums_of(view, view.statistics["kl_pos"].detach()))


def wpo(view: View) -> float:
    token = view.policy.detach() - view.statistics["log_sum_sq"].detach()
    logs = zip(of_pairs(view, sums_of(view, token)), lengths(view), strict=True)
    return mean(LOG2 * min(1.0, math.exp(w / nw + lo / nl)) for (w, lo), (nw, nl) in logs)


def alpha_dpo(view: View) -> float:
    # All gaps are 0: the mean decays from 0.3 by 0.9, and so does the deviation.
    adaptive = 0.2 * (0 - 0.27) / 0.27
    return mean(softplus(-(10.0 * (w - lo - adaptive) - 4.0)) for w, lo in bars(view))


def hpo(view: View) -> float:
    rows = (~view.mismatched).nonzero()[:, 0].tolist()
    surplus = [float(view.scores[i] - view.heads["value"][i].detach()) for i in rows]
    logps = [sums_of(view, view.policy.detach())[i] for i in rows]
    weighted = mean(math.exp(u) * logp for u, logp in zip(surplus, logps, strict=True))
    expectile = mean((0.3 if u < 0 else 0.7) * u * u for u in surplus)
    return LOG2 - 0.1 * weighted + expectile


LOG_TWO = [
    *("dpo", "cdpo", "robust_dpo", "sampo", "sampled", "minor_dpo", "averaged", "humanline"),
    *("chi2po", "ld_dpo", "d2po", "dpop", "dpo_shift", "c2_dpo", "bpo", "gpo", "f_dpo", "mrpo"),
    *("infonca", "minor_sft", "aot", "dr_dpo", "beta_dpo"),
]
STARTS = {
    **dict.fromkeys(LOG_TWO, lambda _: LOG2),
    "ipo": lambda _: 25.0,
    "hinge": lambda _: 1.0,
    "odpo": lambda v: mean(softplus(math.log(a - b)) for a, b in scores(v)),
    "r_dpo": lambda v: mean(softplus(-0.01 * (a - b)) for a, b in lengths(v)),
    "h_dpo": lambda v: mean(softplus(0.1 * 0.05 * (w - lo)) for w, lo in sums(v)),
    "cal_dpo": lambda _: LOG2 + 2 * 500.0**2,
    "spo": lambda _: 0.0,
    "focalpo": lambda _: 0.5**0.05 * LOG2,
    "discopop": lambda _: 0.5 * LOG2 + 0.5,
    "exo": lambda _: -LOG2 - 0.5 * math.log(0.999) - 0.5 * math.log(0.001),
    "rpo": lambda v: LOG2 - 0.005 * 0.01 * mean(w for w, _ in sums(v)),
    "iterative_rpo": lambda v: LOG2 - mean(w for w, _ in bars(v)),
    "wpo": wpo,
    "tdpo": lambda v: mean(softplus(0.1 * 0.5 * (lo - w)) for w, lo in divergences(v)),
    "rebel": lambda v: mean((1e6 * (a - b)) ** 2 for a, b in scores(v)),
    "nca": lambda _: 2 * LOG2,
    "bco": lambda _: 2 * LOG2,
    "apo_zero": lambda _: 1.0,
    "apo_down": lambda _: 1.0,
    "kto": lambda _: 0.5,
    "kto_pair": lambda _: 0.5,
    "sppo": lambda v: mean(
        ((p - 0.5) ** 2 + (q - 0.5) ** 2) / 2 * 1e6 for p, q in of_pairs(v, v.win_probability)
    ),
    "alpha_dpo": alpha_dpo,
    "mixed_po": lambda v: 1.2 * LOG2 + nll_per_token(v),
    "hpo": hpo,
}


def reads_a_reference(name: str) -> bool:
    return SHELF[name].build().needs.reference != "none"


def test_every_recipe_with_a_reference_is_here():
    assert set(STARTS) == {name for name in SHELF if reads_a_reference(name)}


@pytest.mark.parametrize("name", STARTS)
def test_the_loss_at_the_start_is_known(name):
    view = at_start(sample_view())
    loss = SHELF[name].build()(view).loss.detach()
    torch.testing.assert_close(float(loss), STARTS[name](view), rtol=1e-10, atol=1e-12)
