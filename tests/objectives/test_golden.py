"""Loss and gradient of public reference code, case by case.

The numbers come from a file (TRUING_GOLDEN, by default the copy beside this test); which objective
a case asks for is read off its name, reference function, method and parameters, never off a number.
"""

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from truing.core import State, View
from truing.recipes import parse

FILE = Path(os.environ.get("TRUING_GOLDEN", Path(__file__).parent / "data" / "golden.json"))
GOLDEN = json.loads(FILE.read_text())
FEWEST = 138

Params = dict[str, Any]
Rule = Callable[[Params], str]


def with_beta(text: str) -> Rule:
    return lambda p: text.format(b=p["beta"])


def original(p: Params) -> str:
    if p.get("ipo"):
        return f"ipo(beta={p['beta']}, average=False)"
    name = "posterior" if p.get("reference_free") else "dpo"
    if "label_smoothing" in p:
        return f"cdpo(beta={p['beta']}, epsilon={p['label_smoothing']})"
    return f"{name}(beta={p['beta']})"


def odpo(p: Params) -> str:
    scale = "logratio" if "/" in p.get("f", "log") else p.get("f", "log")
    return f"odpo(beta={p['beta']}, alpha={p['alpha']}, scale={scale!r})"


def sampo(p: Params) -> str:
    shared = p["shared"] if "shared" in p else p["reseeded_before_reference_call"]
    if p["name"].startswith("sampo/ipo"):
        return f"sampled(ipo(beta={p['beta']}, average=False), shared_positions={shared})"
    return f"sampo(beta={p['beta']}, shared_positions={shared})"


def refdpo(p: Params) -> str:
    if p.get("reference_free"):
        return f"posterior(beta={p['beta']})"
    name = "likelihood_ratio" if "reference_logps" in p else "dpo"
    return f"{name}(beta={p['beta']})"


def exo(p: Params) -> str:
    beta, reward = p.get("beta_model", p.get("beta_pi")), p.get("beta", p.get("beta_r"))
    texts = {
        "exo-pref": f"exo(beta={beta}, epsilon={math.exp(-10)!r}, normalized=False)",
        "exo-rw": f"exo(beta={beta}, beta_reward={reward})",
        "dpo-pref": f"dpo(beta={beta})",
        "dpo-rw": f"infonca(beta={beta}, alpha={reward})",
    }
    return texts[p["method"]]


def nca(p: Params) -> str:
    if p["loss_type"] == "biasedNCA":
        return f'bco(beta={p["beta"]}, shift="none")'
    scored = ""
    if "temperature_alpha" in p:
        scored = f", alpha={1 / p['temperature_alpha']}, first_bonus={p['a0_bonus']}"
    return f"{p['loss_type'].lower()}(beta={p['beta']}{scored})"


def f_dpo(p: Params) -> str:
    names = {"dpo": "reverse_kl", "forward_dpo": "forward_kl", "js_dpo": "js", "alpha_dpo": "alpha"}
    divergence = names[p["reference"].split(":")[-1].removesuffix("_loss")]
    alpha = f", alpha={p['alpha']}" if divergence == "alpha" else ""
    return f"f_dpo(beta={p['beta']}, divergence={divergence!r}{alpha})"


def simpo(p: Params) -> str:
    gamma = p["beta"] * p["gamma_beta_ratio"]
    return f"simpo(beta={p['beta']}, gamma={gamma}, loss={p.get('loss_type', 'sigmoid')!r})"


def halos_dpo(p: Params) -> str:
    if not p.get("humanline"):
        return f"dpo(beta={p['beta']})"
    low, high = p["log_epsilon_P"], p["log_epsilon_R"]
    return f"humanline(dpo(beta={p['beta']}), low={low}, high={high})"


def mrpo(p: Params) -> str:
    is_fixed, beta = p["eta"] < 0, p["beta"]
    clip = f"eta={abs(p['eta'])}, clip={'fixed' if is_fixed else 'adaptive'!r}"
    if p.get("naive"):
        return f'mrpo(beta={beta}, alpha={p["alpha"]}, form="separate", {clip})'
    alpha = "" if p["alpha"] < 0 else f"alpha={p['alpha']}, "
    return f"mrpo(beta={beta}, {alpha}{clip}, crossed=True)"


def alpha_dpo(p: Params) -> str:
    gamma = p["beta"] * p["gamma_beta_ratio"]
    return f"alpha_dpo(beta={p['beta']}, gamma={gamma}, alpha={p['alpha']}, ema=1.0)"


TRL_LOSSES: dict[str, Rule] = {
    "sigmoid": with_beta("dpo(beta={b})"),
    "hinge": with_beta("hinge(beta={b})"),
    "ipo": with_beta("ipo(beta={b})"),
    "exo_pair": lambda p: f"exo(beta={p['beta']}, epsilon={p['label_smoothing']})",
    "nca_pair": with_beta("nca(beta={b})"),
    "robust": lambda p: f"robust_dpo(beta={p['beta']}, epsilon={p['label_smoothing']})",
    "bco_pair": with_beta('bco(beta={b}, shift="none")'),
    "sppo_hard": with_beta("sppo(beta={b}, hard=True, halved=False)"),
    "aot": lambda p: f"aot(beta={p['beta']}, epsilon={p.get('label_smoothing', 0.0)})",
    "aot_unpaired": with_beta("aot(beta={b}, paired=False)"),
    "apo_zero": with_beta("apo_zero(beta={b})"),
    "apo_down": with_beta("apo_down(beta={b})"),
    "discopop": lambda p: f"discopop(beta={p['beta']}, tau={in_name(p, 'tau', 0.05)})",
    "sft": lambda _: "sft()",
    "sigmoid_norm": with_beta("averaged(dpo(beta={b}))"),
}


def in_name(p: Params, knob: str, otherwise: float) -> str:
    """A setting that the case's name alone tells, as in trl/discopop_b0.05_tau0.05."""
    found = re.search(rf"_{knob}([\d.]+)", p["name"])
    return found.group(1) if found else str(otherwise)


def trl(p: Params) -> str:
    divergences = {
        "forward_kl": lambda: "divergence='forward_kl'",
        "js_divergence": lambda: "divergence='js'",
        "alpha_divergence": lambda: (
            f"divergence='alpha', alpha={1 - p['f_alpha_divergence_coef']!r}"
        ),
    }
    if "f_divergence_type" in p:
        return f"f_dpo(beta={p['beta']}, {divergences[p['f_divergence_type']]()})"
    if "ld_alpha" in p:
        return f"ld_dpo(beta={p['beta']}, alpha={p['ld_alpha']})"
    if p.get("use_weighting"):
        return f"wpo(beta={p['beta']}, capped=False)"
    losses = p.get("loss_types", ["sigmoid"])
    weights = p.get("loss_weights", [1.0] * len(losses))
    terms = [f"{w}*{TRL_LOSSES[n](p)}" for n, w in zip(losses, weights, strict=True)]
    return " + ".join(terms)


def trl_kto(p: Params) -> str:
    if p.get("lt") == "apo_zero_unpaired":
        return f"apo_zero(beta={p['beta']}, unpaired=True)"
    weights = f"desirable_weight={p.get('dw', 1.0)}, undesirable_weight={p.get('uw', 1.0)}"
    return f"kto(beta={p['beta']}, {weights})"


def trl_cpo(p: Params) -> str:
    beta, nll = p["beta"], p["cpo_alpha"]
    if p.get("loss_type") != "simpo":
        return f"cpo(beta={beta}, alpha={nll}, loss={p.get('loss_type', 'sigmoid')!r})"
    if "alpha" in p:
        return f"alphapo(beta={beta}, gamma={p['simpo_gamma']}, alpha={p['alpha']})"
    if nll:
        return f"cpo_simpo(beta={beta}, gamma={p['simpo_gamma']}, alpha={nll})"
    return f"simpo(beta={beta}, gamma={p['simpo_gamma']})"


def kto(p: Params) -> str:
    weights = f"{p['desirable_weight']}, undesirable_weight={p['undesirable_weight']}"
    return f"kto(beta={p['beta']}, desirable_weight={weights})"


SAMPO_REPOSITORY: dict[str, Rule] = {
    "dpop": lambda p: f"dpop(beta={p['beta']}, lam={p['dpop_lambda']})",
    "lenN": lambda p: f"r_dpo(beta={p['beta']}, alpha={p['lenN_lambda']})",
    "kto_pair": with_beta("kto_pair(beta={b})"),
    "nca_pair": with_beta("nca(beta={b})"),
    "sppo_hard": with_beta("sppo(beta={b}, hard=True, halved=False)"),
    "mix": lambda p: f"dpo(beta={p['beta']}) + {p['sft_lambda']}*sft(reduction='sequence_mean')",
    "tdpo": lambda p: f"tdpo(beta={p['beta']}, alpha={p['alpha']})",
}

RULES: dict[str, Rule] = {
    "orig": original,
    "odpo": odpo,
    "sampo": sampo,
    "sampo_repo": lambda p: SAMPO_REPOSITORY[p.get("loss_type", "tdpo")](p),
    "tdpo/tdpo1": with_beta("tdpo(version=1, beta={b})"),
    "tdpo/tdpo2": lambda p: f"tdpo(version=2, beta={p['beta']}, alpha={p['alpha']})",
    "refdpo": refdpo,
    "exo": exo,
    "nca": nca,
    "fdpo": f_dpo,
    "oxrl/minor_dpo": with_beta("minor_dpo(beta={b})"),
    "oxrl/chipo": with_beta("chi2po(beta={b})"),
    "oxrl/dposhift": lambda p: f"dpo_shift(beta={p['beta']}, lam={p['shift_lambda']})",
    "oxrl/hdpo": lambda p: f"h_dpo(beta={p['beta']}, alpha={p['hdpo_alpha']})",
    "oxrl/spo": with_beta("spo(beta={b})"),
    "oxrl/focalpo": lambda p: f"focalpo(beta={p['beta']}, gamma={p['focalpo_gamma']})",
    "oxrl/c2dpo": lambda p: f"c2_dpo(beta={p['beta']}, lam={p['c2_lambda']})",
    "oxrl/bpo": with_beta("bpo(beta={b})"),
    "simpo": simpo,
    "simper": lambda _: "simper()",
    "halos/dpo": halos_dpo,
    "halos/cdpo": lambda p: f"cdpo(beta={p['beta']}, epsilon={p['epsilon']})",
    "halos/ipo": lambda p: f"ipo(beta={p['tau']})",
    "halos/simpo": simpo,
    "halos/kto": kto,
    "sppo": lambda p: f"sppo(beta={p['beta']}, single={p['loss_type'] == 'sppo_single'})",
    "wpo": with_beta("wpo(beta={b})"),
    "beta-dpo": lambda p: (
        f"beta_dpo(beta={p['beta']}, a={p['a']}, filtered={p['mode_weight']}, ema=1.0)"
    ),
    "alpha-dpo": alpha_dpo,
    "dr-dpo": lambda p: f"dr_dpo(beta={p['beta']}, beta_prime={p['mode_weight']})",
    "discopop/log_ratio_modulated": lambda p: f"discopop(beta={p['beta']}, tau={p['tau']})",
    "d2po": lambda p: f"d2po(beta={p['beta']}, gamma={p['gamma']})",
    "ld-dpo": lambda p: (
        f"ld_dpo(beta={p['beta']}, alpha={p['ld_alpha']}, "
        f"discount_reference={p['reference_is'] != 'undiscounted'})"
    ),
    "turbo/dpop": lambda p: f"dpop(beta={p['beta']}, lam={p['lam']})",
    "turbo/caldpo": with_beta("cal_dpo(beta={b})"),
    "turbo/cpo": with_beta('cpo(beta={b}, nll="sum")'),
    # With its `norm` that function subtracts the reference and divides by nothing.
    "turbo/slicnorm": lambda p: f"hinge(beta={p['beta']}, delta={p['delta']})",
    "turbo/slic": lambda p: f"slic(lam=0.0, delta={p['delta']}, beta={p['beta']})",
    "turbo/sigmoid_with_margin": with_beta('odpo(beta={b}, scale="identity")'),
    "rpo": lambda p: f"rpo(beta={p['beta']}, eta={p['eta']})",
    "mrpo": mrpo,
    "trl/kto": trl_kto,
    "trl/cpo": trl_cpo,
    "trl/orpo": lambda p: f"orpo(lam={p['beta']})",
    "trl": trl,
}
TRL_TRAINERS = {"kto_trainer": "trl/kto", "cpo_trainer": "trl/cpo", "orpo_trainer": "trl/orpo"}


def rule_of(case: Params) -> Rule | None:
    """The longest key that the case's name begins with; TRL's go by the trainer they come from."""
    trainers = [key for file, key in TRL_TRAINERS.items() if file in case["reference"]]
    name = case["name"]
    if name.startswith("trl/"):
        return RULES[trainers[0] if trainers else "trl"]
    keys = [key for key in RULES if name == key or re.match(rf"{re.escape(key)}[/_]", name)]
    keys += [key for key in RULES if "/" in key and name.startswith(key)]
    return RULES[max(keys, key=len)] if keys else None


def expression_of(case: Params) -> str | None:
    rule = rule_of(case)
    p = {**case["params"], "reference_is": case["params"].get("reference")}
    return rule and rule({**p, **{k: case[k] for k in ("name", "method", "reference")}})


WANTED = [case for case in GOLDEN["cases"] if rule_of(case)]


def table(name: str) -> torch.Tensor:
    return torch.tensor(GOLDEN["inputs"][name], dtype=torch.float64)


def both(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    return table(f"{name}_chosen"), table(f"{name}_rejected")


def drawn(case: Params, key: str) -> torch.Tensor | None:
    """The token subsets that a case lists, as the view takes them; the shorter side is whole."""
    if key not in case:
        return None
    chosen, rejected = both("mask")
    kept = {"chosen": chosen.bool(), "rejected": rejected.bool()}
    for pick in case[key]:
        row = torch.zeros(chosen.shape[1], dtype=torch.bool)
        row[pick["completion_positions"]] = True
        kept[pick["sampled_side"]][pick["pair"]] = row
    return torch.cat([kept["chosen"], kept["rejected"]])


def two_word_kl(policy: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """KL(reference || policy) over the two words that these references were given as vocabulary."""
    share, other = reference.exp(), -torch.expm1(reference)
    at_other = other.log() - torch.log(-torch.expm1(policy))
    return share * (reference - policy) + other * at_other


RUNNING = {
    **{"beta_dpo/mean": "gap_mean", "beta_dpo/std": "gap_std"},
    **{"alpha_dpo/mean": "running_mean", "alpha_dpo/std": "running_std"},
}


def pair_view(case: Params) -> tuple[View, list[torch.Tensor]]:
    policies = [policy.requires_grad_() for policy in both("policy")]
    references, masks = both("ref"), both("mask")
    p, given = case["params"], {}
    if case["inputs"] == "pair+ref2" and "reference_logps" in p:
        pairs = zip(both("ref2"), masks, strict=True)
        given["unconditional"] = tuple((r * m).sum(1) for r, m in pairs)
    elif case["inputs"] == "pair+ref2":
        references = tuple(torch.stack(rs) for rs in zip(references, both("ref2"), strict=True))
    if case["inputs"] == "pair+scores":
        rejected = p.get("scores_rejected_used", GOLDEN["inputs"]["scores_rejected"])
        given["scores"] = table("scores_chosen"), torch.tensor(rejected, dtype=torch.float64)
    if case["inputs"] == "pair+probs":
        given["win_probability"] = table("probs_win"), table("probs_lose")
    statistics = {"log_sum_sq": both("policy_log_sum_sq")}
    if "tdpo" in case["method"]:
        kinds = zip(policies, references, masks, strict=True)
        hidden = [(pi.where(m > 0, -1.0), ref.where(m > 0, -1.0)) for pi, ref, m in kinds]
        statistics["kl_pos"] = tuple(two_word_kl(pi, ref) for pi, ref in hidden)
    if "selected_mask" in case:
        given["selection"] = torch.tensor(case["selected_mask"]).bool()
    state = {name: p[key] for name, key in RUNNING.items() if key in p}
    count = policies[0].shape[0]
    view = View.from_padded(
        *policies,
        *masks,
        reference_chosen=references[0],
        reference_rejected=references[1],
        statistics=statistics,
        positions=drawn(case, "policy_sampled"),
        reference_positions=drawn(case, "reference_sampled"),
        # One token of each prompt, of probability one half, where a reference counts prompts.
        prompt=torch.full((count,), -math.log(2), dtype=torch.float64),
        prompt_group=torch.arange(count),
        state=State(state),
        **given,
    )
    return view, policies


def mismatched_view(_: Params) -> tuple[View, list[torch.Tensor]]:
    """Pairs, and two mismatched answers to each prompt."""
    policies = [policy.requires_grad_() for policy in both("policy")]
    count, width = policies[0].shape

    def in_groups(chosen: torch.Tensor, rejected: torch.Tensor, others: torch.Tensor):
        return torch.stack([chosen, rejected, others[:count], others[count:]], 1).view(-1, width)

    others = table("kl_policy")
    view = View.from_groups(
        in_groups(*policies, others),
        in_groups(*both("mask"), torch.ones_like(others)),
        torch.arange(count).repeat_interleave(4),
        references=in_groups(*both("ref"), table("kl_reference")),
        pairs=torch.stack([torch.arange(count) * 4, torch.arange(count) * 4 + 1], 1),
        mismatched=torch.tensor([False, False, True, True]).repeat(count),
    )
    return view, policies


def kwise_view(_: Params) -> tuple[View, list[torch.Tensor]]:
    policy = table("kwise_policy").requires_grad_()
    group = torch.arange(policy.shape[0]) // GOLDEN["inputs"]["kwise_group_size"]
    view = View.from_groups(
        policy,
        table("kwise_mask"),
        group,
        references=table("kwise_ref"),
        scores=table("kwise_rewards"),
    )
    return view, [policy]


VIEWS = {"kwise": kwise_view, "pair+kl": mismatched_view}
GRADIENTS = ("grad_policy_chosen", "grad_policy_rejected", "grad_policy_kwise")


def test_enough_cases_are_covered():
    assert len(WANTED) >= FEWEST


@pytest.mark.parametrize("case", WANTED, ids=[case["name"] for case in WANTED])
def test_loss_and_gradient_are_the_published_ones(case):
    text = expression_of(case)
    assert text is not None
    view, leaves = VIEWS.get(case["inputs"], pair_view)(case)
    loss = parse(text)(view).loss
    gradients = torch.autograd.grad(loss, leaves)
    expected = [torch.tensor(case[g], dtype=torch.float64) for g in GRADIENTS if g in case]
    rtol = case["rtol"]
    assert float(loss.detach()) == pytest.approx(case["loss"], rel=rtol, abs=rtol * 1e-3), text
    for gradient, wanted in zip(gradients, expected, strict=True):
        largest = float(wanted.abs().max())
        torch.testing.assert_close(gradient, wanted, rtol=rtol, atol=rtol * largest, msg=text)
