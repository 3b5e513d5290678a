"""MinorDPO: does it survive a high learning rate, and what does it give for that?"""

import numpy as np

from truing.studies.claims import Claim, Part
from truing.studies.plots import Against, Bars, Course, Drawn, Series
from truing.studies.quantities import Measure, more
from truing.studies.study import Paper, Plan, Setting, Study, least
from truing.studies.table import BEST, Point

METHODS = {
    "DPO": "dpo(beta=0.1)",
    "DPOP": "dpop(beta=0.1, lam=5.0)",
    "MinorDPO": "minor_dpo(beta=0.1)",
    "RPO": "rpo(beta=0.1, eta=0.05)",
}
TIMES = (1.0, 2.0, 4.0, 10.0)


def _settings(*times: float) -> tuple[Setting, ...]:
    return tuple(
        Setting(name, expression, time, rate=time)
        for name, expression in METHODS.items()
        for time in times
    )


def _gradient_weights(_: Plan) -> tuple[Drawn, ...]:
    """How hard a rejected response is pushed down, by its log-ratio, at the chosen one's 0."""
    ratios = np.linspace(-40, 20, 61)
    found = []
    for beta in (0.05, 0.1, 0.5):
        # The derivative of the loss by the rejected log-ratio; the chosen one's log-ratio is 0.
        dpo = beta / (1 + np.exp(-beta * ratios))
        minor = np.where(ratios >= 0, dpo, 0.0)
        # A reward of -1 less beta times the log-ratio: the policy gradient's own coefficient.
        reinforced = 1 + beta * ratios
        found.append(
            Drawn(
                f"weights-{beta:g}".replace(".", "-"),
                f"How hard is a rejected response pushed down? (beta {beta:g})",
                "By calculation, as a share of the push at log-ratio 0. Under reward less beta "
                "times KL the push ends at -1/beta and turns round below; DPO goes on pushing for "
                "ever, MinorDPO stops at 0. So beta of DPO is not the weight of a KL.",
                "log-ratio of the rejected response (nats)",
                "push down, times that at 0",
                (
                    Series("RL with KL", ratios.tolist(), np.clip(reinforced, -2, 4).tolist()),
                    Series("DPO", ratios.tolist(), (dpo / (beta / 2)).tolist()),
                    Series("MinorDPO", ratios.tolist(), (minor / (beta / 2)).tolist()),
                ),
                level=0.0,
            )
        )
    return tuple(found)


def _best(method: str) -> Point:
    return Point(method, BEST)


HIGH = TIMES[-1]
STUDY = Study(
    name="minor_dpo",
    claim="MinorDPO survives learning rates at which DPO collapses",
    paper=Paper(
        title="Minor DPO reject penalty to increase training robustness",
        source="arXiv:2408.09834",
        figure="MinorDPO tolerates larger learning rates than DPO and DPOP on mathematics, and is "
        "better by up to about five points.",
        certainty="by a summary alone; the paper's tables could not be read",
    ),
    plans={
        "smoke": least(*_settings(10.0)),
        "small": Plan(_settings(*TIMES), pairs=800),
        "full": Plan(_settings(0.5, *TIMES, 20.0), pairs=1800),
    },
    claims=(
        Claim(
            "At ten times the rate MinorDPO keeps the score that DPO loses",
            (
                Part(
                    "MinorDPO's score less DPO's",
                    more(Point("MinorDPO", HIGH), Point("DPO", HIGH), "score"),
                ),
                Part(
                    "score that DPO lost to the start",
                    Measure(Point("DPO", HIGH), "score_gain", -1.0),
                ),
            ),
        ),
        Claim(
            "At ten times the rate MinorDPO keeps chosen responses likelier than DPO does",
            (
                Part(
                    "log-ratio of chosen held-out responses, difference (nats)",
                    more(Point("MinorDPO", HIGH), Point("DPO", HIGH), "drift_chosen"),
                ),
            ),
        ),
        Claim(
            "Each at its best rate, MinorDPO scores more than DPO",
            (
                Part(
                    "score at the best rate, difference",
                    more(_best("MinorDPO"), _best("DPO"), "score"),
                ),
            ),
        ),
        Claim(
            "Each at its best rate, MinorDPO scores more than DPOP",
            (
                Part(
                    "score at the best rate, difference",
                    more(_best("MinorDPO"), _best("DPOP"), "score"),
                ),
            ),
        ),
    ),
    plots=(
        Against(
            "score",
            title="Who survives a high rate?",
            caption="Each method's best point stands beside its collapse.",
        ),
        Against("drift_chosen", title="Are chosen responses still likely?", level=0.0),
        Against("reward_accuracy", title="Does it still tell better from worse?", level=0.5),
        Against("broken", title="How much of what it says is broken?"),
        Against("kl", title="How far does it go?"),
        Against("score", "kl", "What does each give for how far it went?", is_log=True),
        Bars("win_rate", "Each at its best rate: how often does it beat the start?", level=0.5),
        Course(
            "logps_drift/chosen",
            "The course at ten times the rate",
            "chosen log-ratio (nats)",
            value=HIGH,
        ),
    ),
    knob="learning rate, times 5e-4",
    limits=("beta is 0.1 throughout, and DPOP's and RPO's second knobs stay at one value",),
    drawn=_gradient_weights,
)
