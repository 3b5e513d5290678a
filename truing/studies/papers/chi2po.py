"""chi2-PO: does a heavier divergence keep a policy from over-optimising?"""

from truing.studies.claims import Claim, Part
from truing.studies.plots import Against, Bars
from truing.studies.quantities import Minus, more
from truing.studies.study import Paper, Plan, Rows, Setting, Study, least
from truing.studies.table import Point

METHODS = {"DPO": "dpo(beta={b:g})", "chi2-PO": "chi2po(beta={b:g})"}
WEAK, USUAL = "beta 0.005", "beta 0.05"
BETAS = {WEAK: 0.005, USUAL: 0.05}


def _settings(*epochs: int) -> tuple[Setting, ...]:
    return tuple(
        Setting(name, text.format(b=beta), float(n), arm, Rows(selection="random"), {"epochs": n})
        for arm, beta in BETAS.items()
        for name, text in METHODS.items()
        for n in epochs
    )


def _lost(arm: str) -> Minus:
    """What DPO loses from the first to the last epoch, less what chi2-PO does."""
    falls = [more(Point(name, 1.0, arm), Point(name, 4.0, arm), "score") for name in METHODS]
    return Minus(*falls)


STUDY = Study(
    name="chi2po",
    claim="With a weak tie and many passes DPO collapses and chi2-PO does not",
    paper=Paper(
        title="Correcting the Mythos of KL-Regularization: Direct Alignment without "
        "Overoptimization via Chi-Squared Preference Optimization",
        source="arXiv:2407.13399",
        figure="TL;DR, wins of 100 after 1, 2 and 4 epochs: at beta 0.05 chi2-PO 56.5, 56.1, 48.0 "
        "against DPO 55.8, 50.3, 38.0; at 0.005 50.6, 52.8, 51.6 against 14.7, 3.4, 0.5.",
        certainty="by detailed notes and third parties' code",
    ),
    plans={
        "smoke": least(*_settings(1)[1:2]),
        "small": Plan(_settings(1, 4), pairs=300),
        "full": Plan(_settings(1, 2, 4, 8), pairs=1500),
    },
    claims=(
        Claim(
            "At beta 0.005 and four epochs chi2-PO scores more than DPO",
            (
                Part(
                    "score, difference",
                    more(Point("chi2-PO", 4.0, WEAK), Point("DPO", 4.0, WEAK), "score"),
                ),
            ),
        ),
        Claim(
            "From one epoch to four DPO loses more than chi2-PO at beta 0.005",
            (Part("loss of score, DPO less chi2-PO", _lost(WEAK)),),
        ),
        Claim(
            "At beta 0.05 and four epochs chi2-PO scores more than DPO",
            (
                Part(
                    "score, difference",
                    more(Point("chi2-PO", 4.0, USUAL), Point("DPO", 4.0, USUAL), "score"),
                ),
            ),
        ),
    ),
    plots=(
        Against("score", title="What do more passes do?"),
        Against("win_rate", title="How often does it beat the start?", level=0.5),
        Against("kl", title="How far does it go?"),
        Against("broken", title="Where does it fall apart?"),
        Bars("score", "At its best number of passes"),
    ),
    knob="epochs",
    limits=("the margin is not clipped (R_max none), which is what the authors' runs come to",),
)
