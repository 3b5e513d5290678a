"""What TRL 1.16 and LLaMA-Factory train, said as an objective: the same loss, number for number.

Where Truing's default differs from theirs the mode that equals theirs is taken; docs/migration.md
lists these. `tests/conformance` trains both sides and compares.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from truing import recipes as r
from truing.errors import ConfigError, KnobError
from truing.objectives import (
    AlphaDivergence,
    Constant,
    ForwardKL,
    Hinge,
    JensenShannon,
    Link,
    Logistic,
    LogRatio,
    MarginLoss,
    Objective,
    OnPolicy,
    Pairwise,
    PolicyLogp,
    PowerReward,
    Same,
    SortedGaps,
    Squared,
    Tail,
    TokenMean,
    TokenSum,
)

# Losses of a difference of rewards, over which TRL offers other divergences.
OF_DIFFERENCES = frozenset({"sigmoid", "hinge", "exo_pair", "robust", "discopop"})
SMOOTHED = frozenset({"robust", "exo_pair", "aot", "aot_unpaired"})


@dataclass(frozen=True)
class Loss:
    """The loss that a set of arguments asks for.

    Args:
        objective: the same loss.
        idle: arguments that were given and changed nothing, each with a sentence.
    """

    objective: Objective
    idle: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DpoArguments:
    """The fields of TRL's DPOConfig that make the loss, with its defaults."""

    loss_type: Sequence[str] = ("sigmoid",)
    loss_weights: Sequence[float] | None = None
    beta: float = 0.1
    label_smoothing: float = 0.0
    ld_alpha: float | None = None
    f_divergence_type: str = "reverse_kl"
    f_alpha_divergence_coef: float = 0.5
    use_weighting: bool = False
    discopop_tau: float = 0.05


@dataclass(frozen=True)
class KtoArguments:
    """The same of KTOConfig."""

    loss_type: str = "kto"
    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0


@dataclass(frozen=True)
class CpoArguments:
    """The same of CPOConfig."""

    loss_type: str = "sigmoid"
    beta: float = 0.1
    label_smoothing: float = 0.0
    cpo_alpha: float = 1.0
    simpo_gamma: float = 0.5
    alpha: float = 0.0


@dataclass(frozen=True)
class OrpoArguments:
    """The same of ORPOConfig."""

    beta: float = 0.1


_DPO: Mapping[str, Callable[[DpoArguments], Objective]] = {
    "sigmoid": lambda a: r.dpo(beta=a.beta),
    "hinge": lambda a: r.hinge(beta=a.beta),
    "ipo": lambda a: r.ipo(beta=a.beta),
    "exo_pair": lambda a: r.exo(beta=a.beta, epsilon=a.label_smoothing),
    "nca_pair": lambda a: r.nca(beta=a.beta),
    "robust": lambda a: r.robust_dpo(beta=a.beta, epsilon=a.label_smoothing),
    "bco_pair": lambda a: r.bco(beta=a.beta, shift="none"),
    "sppo_hard": lambda a: r.sppo(beta=a.beta, hard=True, halved=False),
    "aot": lambda a: r.aot(beta=a.beta, epsilon=a.label_smoothing),
    "aot_unpaired": lambda a: r.aot(beta=a.beta, paired=False, epsilon=a.label_smoothing),
    "apo_zero": lambda a: r.apo_zero(beta=a.beta),
    "apo_down": lambda a: r.apo_down(beta=a.beta),
    "discopop": lambda a: r.discopop(beta=a.beta, tau=a.discopop_tau),
    "sft": lambda _: r.sft(),
    "sigmoid_norm": lambda a: r.averaged(r.dpo(beta=a.beta)),
}


DPO_LOSSES = frozenset(_DPO)


def no_equal(argument: str, what: str, fix: str) -> ConfigError:
    """An argument that makes the loss and that no objective equals."""
    return ConfigError(f"has no equal in Truing: {what}", where=argument, fix=fix)


def dpo_loss(given: DpoArguments) -> Loss:
    """The loss of TRL's DPOTrainer.

    Raises:
        ConfigError: an argument, or two of them together, that nothing equals, or that TRL refuses.
    """
    weights = given.loss_weights or [1.0] * len(given.loss_type)
    if len(weights) != len(given.loss_type):
        raise ConfigError(
            f"has {len(weights)} weights for {len(given.loss_type)} losses, which TRL refuses",
            where="loss_weights",
            fix="give one weight a loss",
        )
    terms = [_modified(name, given) for name in given.loss_type]
    return Loss(_weighted(terms, weights), _idle(given))


def _weighted(terms: Sequence[Objective], weights: Sequence[float]) -> Objective:
    parts = [
        term if weight == 1 else weight * term
        for term, weight in zip(terms, weights, strict=True)
        if weight
    ]
    if not parts:
        raise ConfigError("are all 0", where="loss_weights", fix="give one that is not 0")
    total = parts[0]
    for one in parts[1:]:
        total = total + one
    return total


def _idle(given: DpoArguments) -> dict[str, str]:
    """Arguments that this choice of losses never reads."""
    losses, idle = set(given.loss_type), {}
    if given.label_smoothing and not losses & SMOOTHED:
        idle["label_smoothing"] = (
            "is read by robust, exo_pair and aot alone in TRL 1.16; for DPO with flipped labels "
            f"write cdpo(beta={given.beta}, epsilon={given.label_smoothing})"
        )
    if given.f_divergence_type != "reverse_kl" and "sft" in losses:
        idle["f_divergence_type"] = "changes nothing in the term `sft`"
    coefficient, usual = given.f_alpha_divergence_coef, DpoArguments.f_alpha_divergence_coef
    if coefficient != usual and given.f_divergence_type != "alpha_divergence":
        idle["f_alpha_divergence_coef"] = "is read by f_divergence_type alpha_divergence alone"
    if given.discopop_tau != DpoArguments.discopop_tau and "discopop" not in losses:
        idle["discopop_tau"] = "is read by discopop alone"
    if given.ld_alpha is not None and "sft" in losses:
        idle["ld_alpha"] = "changes nothing in the term `sft`"
    return idle


def _modified(name: str, given: DpoArguments) -> Objective:
    """One loss with what TRL puts around any of them: divergence, discounted tail, WPO weights."""
    if name not in _DPO:
        raise ConfigError(
            f"TRL 1.16 has no loss {name!r}",
            where="loss_type",
            fix=f"it has {', '.join(_DPO)}; `truing objectives` lists Truing's",
        )
    if name == "exo_pair" and not given.label_smoothing:
        raise ConfigError(
            "exo_pair needs label_smoothing above 0, and TRL refuses it without",
            where="label_smoothing",
            fix="set it; the paper has 1e-3",
        )
    try:
        base = _DPO[name](given)
    except KnobError as error:
        raise no_equal(name, error.what, error.fix) from error
    if name == "sft":
        if given.use_weighting:
            raise ConfigError(
                "use_weighting beside the loss `sft` makes TRL 1.16 fail at the first step",
                where="use_weighting",
                fix="leave one of both out",
            )
        return base
    assert isinstance(base, Pairwise), "every other loss is one of pairs"
    changes: dict[str, Any] = {}
    link = _link(name, given)
    if link != Same():
        changes |= {"chosen": link, "rejected": link}
    if given.ld_alpha is not None:
        changes["likelihood"] = _discounted(base, given.ld_alpha)
    if given.use_weighting:
        if name.startswith("aot"):
            raise ConfigError(
                "TRL refuses use_weighting for losses that sort", where=name, fix="leave it out"
            )
        changes["weight"] = OnPolicy(is_capped=False)
    return _named(replace(base, **changes), given) if changes else base


def _discounted(base: Pairwise, share: float) -> LogRatio:
    if base.margin == SortedGaps():
        raise no_equal("ld_alpha", "beside the loss aot", "leave one of both out")
    assert isinstance(base.likelihood, LogRatio), "TRL's losses of pairs read log-ratios"
    return replace(base.likelihood, policy=Tail(share=share))


def _link(name: str, given: DpoArguments) -> Link:
    if given.f_divergence_type == "reverse_kl":
        return Same()
    if name in {"ipo", "sigmoid_norm"}:
        raise no_equal(
            "f_divergence_type",
            f"TRL divides by the length behind the divergence in {name}",
            "leave it out, or choose the loss sigmoid",
        )
    if name not in OF_DIFFERENCES:
        raise ConfigError(
            f"TRL refuses {given.f_divergence_type} for {name}",
            where="f_divergence_type",
            fix="leave it out",
        )
    if given.f_divergence_type == "alpha_divergence":
        return _alpha_link(given.f_alpha_divergence_coef)
    links = {"forward_kl": ForwardKL(), "js_divergence": JensenShannon()}
    if given.f_divergence_type not in links:
        raise ConfigError(
            f"there is no divergence {given.f_divergence_type!r} in TRL",
            where="f_divergence_type",
            fix="it has reverse_kl, forward_kl, js_divergence, alpha_divergence",
        )
    return links[given.f_divergence_type]


def _alpha_link(coefficient: float) -> Link:
    """TRL's coefficient is 1 - alpha of the paper: 1 is reverse KL, 0 forward KL."""
    if abs(coefficient - 1) < 1e-6:
        return Same()
    if coefficient == 0:
        return ForwardKL()
    if not 0 < coefficient < 1:
        raise no_equal(
            "f_alpha_divergence_coef",
            f"{coefficient} is outside of 0 to 1, where the paper's alpha lies",
            "choose one between 0 (forward KL) and 1 (reverse KL)",
        )
    return AlphaDivergence(alpha=1 - coefficient)


def _named(value: Pairwise, given: DpoArguments) -> Objective:
    """The value under the name of a paper where it has one."""
    candidates: list[Objective] = [
        r.wpo(beta=given.beta, capped=False),
        r.f_dpo(beta=given.beta, divergence="forward_kl"),
        r.f_dpo(beta=given.beta, divergence="js"),
    ]
    if given.ld_alpha is not None:
        candidates.append(r.ld_dpo(beta=given.beta, alpha=given.ld_alpha))
    if isinstance(value.chosen, AlphaDivergence):
        alpha = value.chosen.alpha
        candidates.append(r.f_dpo(beta=given.beta, divergence="alpha", alpha=alpha))
    return next((one for one in candidates if one == value), value)


def kto_loss(given: KtoArguments) -> Loss:
    """The loss of TRL's KTOTrainer.

    Raises:
        ConfigError: a loss that it has not.
    """
    weights = {
        "desirable_weight": given.desirable_weight,
        "undesirable_weight": given.undesirable_weight,
    }
    if given.loss_type == "kto":
        return Loss(r.kto(beta=given.beta, **weights))
    if given.loss_type != "apo_zero_unpaired":
        raise ConfigError(
            f"TRL's KTOTrainer has no loss {given.loss_type!r}",
            where="loss_type",
            fix="it has kto and apo_zero_unpaired",
        )
    if set(weights.values()) == {1.0}:
        return Loss(r.apo_zero(beta=given.beta, unpaired=True))
    return Loss(replace(r.apo_zero(beta=given.beta, unpaired=True), **weights))  # type: ignore[type-var]


def cpo_loss(given: CpoArguments) -> Loss:
    """The loss of TRL's (experimental) CPOTrainer: CPO, SimPO, AlphaPO and their mixtures.

    Raises:
        ConfigError: a loss that it has not.
    """
    name, nll = given.loss_type, given.cpo_alpha
    if name == "alphapo":  # TRL's word for simpo without the likelihood
        name, nll = "simpo", 0.0
    forms: dict[str, MarginLoss] = {
        "sigmoid": Logistic(smoothing=given.label_smoothing),
        "simpo": Logistic(smoothing=given.label_smoothing),
        "hinge": Hinge(),
        "ipo": Squared(target=0.5, unit=given.beta),
    }
    if name not in forms:
        raise ConfigError(
            f"TRL's CPOTrainer has no loss {name!r}",
            where="loss_type",
            fix=f"it has {', '.join(forms)} and alphapo",
        )
    bend = PowerReward(alpha=given.alpha) if given.alpha else Same()
    pair = Pairwise(
        beta=given.beta,
        likelihood=PolicyLogp(pool=TokenMean() if name in {"ipo", "simpo"} else TokenSum()),
        chosen=bend,
        rejected=bend,
        loss=forms[name],
    )
    if name == "simpo":
        pair = replace(pair, offset=Constant(value=given.simpo_gamma))
    idle = {}
    if given.label_smoothing and name in {"hinge", "ipo"}:
        idle["label_smoothing"] = f"is not read by the loss {name}"
    if given.simpo_gamma != CpoArguments.simpo_gamma and name != "simpo":
        idle["simpo_gamma"] = f"is not read by the loss {name}"
    if given.cpo_alpha not in {nll, CpoArguments.cpo_alpha}:
        idle["cpo_alpha"] = "is 0 for the loss alphapo, whatever is given"
    value = _weighted([pair, r.sft()], [1.0, nll])
    return Loss(_cpo_named(value, given, nll), idle)


def _cpo_named(value: Objective, given: CpoArguments, nll: float) -> Objective:
    beta, gamma = given.beta, given.simpo_gamma
    candidates = [
        r.simpo(beta=beta, gamma=gamma),
        r.alphapo(beta=beta, gamma=gamma, alpha=given.alpha),
        r.cpo_simpo(beta=beta, gamma=gamma, alpha=nll),
        r.cpo(beta=beta, alpha=nll),
        r.cpo(beta=beta, alpha=nll, loss="hinge"),
    ]
    return next((one for one in candidates if one == value), value)


def orpo_loss(given: OrpoArguments) -> Loss:
    """The loss of TRL's (experimental) ORPOTrainer; its `beta` is the paper's lambda."""
    return Loss(r.orpo(lam=given.beta))
