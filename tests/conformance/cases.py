"""Every loss that both have, in the arguments of TRL."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from truing import recipes as r
from truing.jobs.migrate_losses import (
    CpoArguments,
    DpoArguments,
    KtoArguments,
    OrpoArguments,
    cpo_loss,
    dpo_loss,
    kto_loss,
    orpo_loss,
)
from truing.objectives import NLL, Hinge, Objective, Pairwise, PolicyLogp, Squared, TokenMean

from .homes import Home
from .sides import LORA, SETTINGS


@dataclass(frozen=True)
class Case:
    """One comparison.

    Args:
        name: for the test's name.
        method: of TRL's trainer.
        arguments: those of its configuration that make the loss.
        conversational: rows of messages.
        lora: adapters on a frozen base, which is then the reference.
        learning_rate: of both.
    """

    name: str
    method: str
    arguments: dict[str, Any] = field(default_factory=dict)
    conversational: bool = False
    lora: bool = False
    learning_rate: float = SETTINGS["learning_rate"]

    def __str__(self) -> str:
        rows = "messages" if self.conversational else "text"
        return f"{self.name}-{rows}-{'lora' if self.lora else 'full'}"

    def rows(self, home: Home) -> list[dict[str, Any]]:
        """What is trained on."""
        if self.method == "kto":
            return _unpaired(home.conversational) if self.conversational else home.unpaired
        rows = home.conversational if self.conversational else home.plain
        if self.method != "tpo":
            return rows
        # A gold response: that of the next row, cut short.
        return [
            {**row, "reference": other["chosen"]}
            for row, other in zip(rows, [*rows[1:], rows[0]], strict=True)
        ]

    @property
    def objective(self) -> Objective:
        """The same loss in Truing."""
        return OBJECTIVES[self.method](self.arguments)


def _unpaired(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "prompt": row["prompt"],
            "completion": row[("chosen", "rejected")[number % 2]],
            "label": number % 2 == 0,
        }
        for number, row in enumerate(rows)
    ]


def _tpo(arguments: dict[str, Any]) -> Objective:
    """TPO's four losses; the gold response's likelihood beside each."""
    kind, beta = arguments.get("loss_type", "sigmoid"), arguments.get("beta", 0.01)
    alpha = arguments.get("tpo_alpha", 1.0)
    if kind == "sigmoid":
        return r.tpo(beta=beta, alpha=alpha)
    if kind == "tpo-l":
        gamma = arguments.get("tpo_l_gamma", 0.5)
        return r.tpo(beta=beta, alpha=alpha, average=True, gamma=gamma)
    forms = {
        "hinge": Pairwise(beta=beta, likelihood=PolicyLogp(), loss=Hinge()),
        "ipo": Pairwise(
            beta=beta,
            likelihood=PolicyLogp(pool=TokenMean()),
            loss=Squared(target=0.5, unit=beta),
        ),
    }
    return forms[kind] + alpha * NLL(source="gold")


OBJECTIVES: dict[str, Callable[[dict[str, Any]], Objective]] = {
    "dpo": lambda a: dpo_loss(DpoArguments(**a)).objective,
    "kto": lambda a: kto_loss(KtoArguments(**a)).objective,
    "cpo": lambda a: cpo_loss(CpoArguments(**a)).objective,
    "orpo": lambda a: orpo_loss(OrpoArguments(**a)).objective,
    "tpo": _tpo,
}


def keys_of(case: Case, home: Home) -> dict[str, Any]:
    """The run file of a case."""
    keys: dict[str, Any] = {"model": home.model, "objective": str(case.objective)}
    keys["learning_rate"] = case.learning_rate
    reads = case.method in {"dpo", "kto"} and case.objective.needs.reference != "none"
    if case.lora:
        keys["lora"] = LORA
    elif reads:
        keys["reference"] = f"model(path={home.other!r})"
    return keys


def dpo(name: str, *losses: str, **arguments: Any) -> Case:
    """A case of TRL's DPOTrainer."""
    given = {"loss_type": list(losses)} if losses else {}
    return Case(name, "dpo", given | arguments)


def gently(case: Case) -> Case:
    """With small steps: this loss grows by e a nat, and ten steps of the usual size reach 1e14.

    Out there TRL's overflows and gives NaN, and Truing's is large.
    """
    return replace(case, learning_rate=1e-5)


ALL = [
    dpo("sigmoid", "sigmoid"),
    dpo("hinge", "hinge", beta=0.05),
    dpo("ipo", "ipo"),
    dpo("exo", "exo_pair", label_smoothing=1e-3),
    dpo("nca", "nca_pair", beta=0.05),
    dpo("robust", "robust", label_smoothing=0.2),
    dpo("bco", "bco_pair"),
    dpo("sppo", "sppo_hard", beta=0.5),
    dpo("aot", "aot", label_smoothing=0.1),
    dpo("aot-unpaired", "aot_unpaired"),
    dpo("apo-zero", "apo_zero"),
    dpo("apo-down", "apo_down"),
    # At 0.1 the slope nearly vanishes at a log-ratio of 0, where adapters begin: its terms, 0.767
    # and -0.750, leave 0.017, and rounding is seen fifty times larger.
    dpo("discopop", "discopop", discopop_tau=0.03),
    dpo("sft", "sft"),
    dpo("sigmoid-norm", "sigmoid_norm", beta=5.0),
    dpo("mpo", "sigmoid", "bco_pair", "sft", loss_weights=[0.8, 0.2, 1.0]),
    dpo("rpo", "sigmoid", "sft", loss_weights=[1.0, 0.005]),
    dpo("ld", ld_alpha=0.4),
    dpo("ld-ipo", "ipo", ld_alpha=0.4),
    gently(dpo("forward-kl", f_divergence_type="forward_kl")),
    dpo("js", f_divergence_type="js_divergence"),
    dpo("alpha", f_divergence_type="alpha_divergence", f_alpha_divergence_coef=0.7),
    dpo("js-hinge", "hinge", f_divergence_type="js_divergence"),
    gently(dpo("forward-robust", "robust", f_divergence_type="forward_kl", label_smoothing=0.1)),
    dpo("wpo", use_weighting=True),
    dpo("wpo-apo", "apo_zero", use_weighting=True, ld_alpha=0.5),
    Case("kto", "kto", {"beta": 0.1, "desirable_weight": 1.2}),
    Case("kto-apo", "kto", {"loss_type": "apo_zero_unpaired", "undesirable_weight": 0.5}),
    Case("cpo", "cpo"),
    Case("cpo-smoothed", "cpo", {"label_smoothing": 0.1}),
    Case("cpo-hinge", "cpo", {"loss_type": "hinge", "beta": 0.05}),
    Case("cpo-ipo", "cpo", {"loss_type": "ipo"}),
    Case("simpo", "cpo", {"loss_type": "simpo", "cpo_alpha": 0.0, "beta": 2.0}),
    Case("cpo-simpo", "cpo", {"loss_type": "simpo", "cpo_alpha": 0.05, "beta": 10.0}),
    Case("alphapo", "cpo", {"loss_type": "alphapo", "alpha": 0.25, "beta": 2.5}),
    Case("orpo", "orpo", {"beta": 0.3}),
    Case("tpo", "tpo"),
    Case("tpo-l", "tpo", {"loss_type": "tpo-l", "beta": 2.0}),
    Case("tpo-hinge", "tpo", {"loss_type": "hinge"}),
    Case("tpo-ipo", "tpo", {"loss_type": "ipo", "beta": 0.1}),
]

FORMS = [(False, False), (True, True), (False, True), (True, False)]


def _form(case: Case, number: int) -> Case:
    conversational, lora = FORMS[number % len(FORMS)]
    return replace(case, conversational=conversational, lora=lora)


# Quick: each loss in one form, DPO in all four. Mixtures of what is there already, and every loss
# in every form, are for `make soak`.
MIXTURES = {"rpo", "ld-ipo", "js-hinge", "forward-robust", "wpo-apo", "cpo-smoothed"}
PLAIN = [case for case in ALL if case.name not in MIXTURES]
QUICK = [_form(case, number) for number, case in enumerate(PLAIN)]
QUICK += [_form(ALL[0], number) for number in (1, 2, 3)]
EVERY = [_form(case, number) for case in ALL for number in range(len(FORMS))]
LONG = [case for case in EVERY if case not in QUICK]
