"""RPO: does the likelihood of the chosen response keep DPO from over-optimising?"""

from truing.studies.claims import Claim, Part
from truing.studies.plots import Against, Bars, Course
from truing.studies.quantities import more
from truing.studies.study import Paper, Plan, Study, grid, least
from truing.studies.table import BEST, Point

DPO, RPO = "DPO", "RPO"
METHODS = {DPO: "dpo(beta={v})", RPO: 'rpo(beta={v}, eta=0.2, reduction="sequence_mean")'}
LEAST = 0.02

STUDY = Study(
    name="rpo",
    claim="The likelihood of the chosen response keeps it likely, and gives a better best",
    paper=Paper(
        title="Provably Mitigating Overoptimization in RLHF: Your SFT Loss is Implicitly an "
        "Adversarial Regularizer",
        source="arXiv:2405.16436",
        figure="Log-probs of chosen responses fall in DPO and stay up in RPO; zephyr-beta and "
        "-gemma win more often against DPO than they lose.",
        certainty="the released code; it has two forms, of which the later one is taken (0.2 "
        "times the mean over responses of token means)",
    ),
    plans={
        "smoke": least(*grid({RPO: METHODS[RPO]}, (0.1,))),
        "small": Plan(grid(METHODS, (LEAST, 0.1, 0.5, 2.0)), pairs=200, epochs=4),
        "full": Plan(grid(METHODS, (0.005, LEAST, 0.1, 0.3, 1.0)), pairs=1000, epochs=4),
    },
    claims=(
        Claim(
            "With a weak tie chosen held-out responses stay likelier than in DPO",
            (
                Part(
                    "log-ratio of chosen responses, difference (nats)",
                    more(Point(RPO, LEAST), Point(DPO, LEAST), "drift_chosen"),
                ),
            ),
        ),
        Claim(
            "With a weak tie RPO scores more than DPO",
            (Part("score, difference", more(Point(RPO, LEAST), Point(DPO, LEAST), "score")),),
        ),
        Claim(
            "Each at its best, RPO scores more than DPO",
            (Part("score, difference", more(Point(RPO, BEST), Point(DPO, BEST), "score")),),
        ),
    ),
    plots=(
        Against("drift_chosen", title="Do chosen responses stay likely?", level=0.0),
        Against("score", title="Score over beta"),
        Against("score", "kl", "Score for how far it went"),
        Bars("win_rate", "How often does it beat the start?", level=0.5),
        Course("logps_drift/chosen", "Chosen log-ratio over training", "nats", value=LEAST),
    ),
)
