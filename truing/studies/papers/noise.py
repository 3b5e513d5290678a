"""Noise: which losses bear labels that were turned round?"""

from truing.studies.claims import Claim, Part
from truing.studies.plots import Bars
from truing.studies.quantities import Minus, more
from truing.studies.study import Paper, Plan, Rows, Setting, Study, least
from truing.studies.table import Point

METHODS = {
    "DPO": "dpo(beta=0.1)",
    "cDPO": "cdpo(beta=0.1, epsilon=0.2)",
    "robust DPO": "robust_dpo(beta=0.1, epsilon=0.2)",
    "Dr.DPO": "dr_dpo(beta=0.1, beta_prime=1.0)",
}


def arm_of(noise: float) -> str:
    """Its name on the page."""
    return f"{noise:.0%} turned round"


def _settings(*shares: float) -> tuple[Setting, ...]:
    return tuple(
        Setting(name, text, None, arm_of(share), Rows(selection="random", noise=share))
        for share in shares
        for name, text in METHODS.items()
    )


MOST = 0.3
CLEAN, TURNED = arm_of(0.0), arm_of(MOST)


def _lost(method: str, measure: str) -> Minus:
    """What DPO loses to noise less what a method does."""
    return Minus(
        more(Point("DPO", None, CLEAN), Point("DPO", None, TURNED), measure),
        more(Point(method, None, CLEAN), Point(method, None, TURNED), measure),
    )


STUDY = Study(
    name="noise",
    claim="Losses made for turned labels lose less of their held-out accuracy than DPO",
    paper=Paper(
        title="Provably Robust DPO; Towards Robust Alignment (Dr. DPO); A note on DPO with noisy "
        "preferences",
        source="arXiv:2403.00409, arXiv:2407.07880, Mitchell 2023",
        figure="With 10 to 40 % of labels turned round, accuracy of robust DPO and Dr.DPO falls "
        "less than DPO's.",
        certainty="the losses from public code; the figures by notes",
    ),
    plans={
        "smoke": least(*_settings(MOST)[1:]),
        "small": Plan(_settings(0.0, MOST), pairs=600),
        "full": Plan(_settings(0.0, 0.1, 0.2, MOST, 0.4), pairs=1900),
    },
    claims=tuple(
        Claim(
            f"{method} loses less held-out accuracy than DPO when 30 % are turned round",
            (Part("DPO's loss of accuracy less its loss", _lost(method, "reward_accuracy")),),
        )
        for method in ("robust DPO", "Dr.DPO", "cDPO")
    ),
    plots=(
        Bars("reward_accuracy", "Does it still tell better from worse?", level=0.5),
        Bars("score", "What are its responses worth?"),
        Bars("kl", "How far does it go?"),
        Bars("win_rate", "How often does it beat the start?", level=0.5),
    ),
    limits=(
        "cDPO and robust DPO are told a rate of 20 % everywhere, as one who does not know it",
        "nothing is tuned: one strength for all",
    ),
)
