"""IPO: is a finite target for the margin what keeps a policy near where labels are certain?"""

from truing.studies.claims import Claim, Part
from truing.studies.plots import Against, Bars, Course
from truing.studies.quantities import Slope, more
from truing.studies.study import Paper, Plan, Rows, Study, grid, least
from truing.studies.table import BEST, Point

DPO, IPO, MEANS = "DPO", "IPO, sums", "IPO, means"
METHODS = {
    DPO: "dpo(beta={v})",
    IPO: "ipo(beta={v}, average=False)",
    MEANS: "ipo(beta={v}, average=True)",
}
ROWS = Rows(temperature=0.0)


def _values(*betas: float) -> dict[str, tuple[float, ...]]:
    return {DPO: betas, IPO: betas, MEANS: tuple(30 * b for b in betas)}


LEAST = 0.02
STUDY = Study(
    name="ipo",
    claim="Where labels are certain, IPO stays near the start when the tie is weak and DPO does "
    "not",
    paper=Paper(
        title="A General Theoretical Paradigm to Understand Learning from Human Preferences",
        source="arXiv:2310.12036",
        figure="On bandits whose labels are certain, DPO's policy becomes deterministic whatever "
        "the strength of its tie; IPO's follows the strength.",
        certainty="the loss by equation and three codes; whether sums or means are meant is "
        "disputed",
    ),
    plans={
        "smoke": least(
            *grid(
                {IPO: METHODS[IPO], MEANS: METHODS[MEANS]}, {IPO: (0.1,), MEANS: (3.0,)}, rows=ROWS
            )
        ),
        "small": Plan(grid(METHODS, _values(LEAST, 0.1, 0.5), rows=ROWS), pairs=200, epochs=4),
        "full": Plan(
            grid(METHODS, _values(0.005, LEAST, 0.05, 0.1, 0.3, 1.0), rows=ROWS),
            pairs=500,
            epochs=8,
        ),
    },
    claims=(
        Claim(
            "At the weakest tie IPO is nearer to the start than DPO",
            (Part("DPO's KL less IPO's (nats)", more(Point(DPO, LEAST), Point(IPO, LEAST), "kl")),),
        ),
        Claim(
            "Each at its best, IPO scores no less than DPO",
            (
                Part(
                    "IPO's score less DPO's",
                    more(Point(IPO, BEST), Point(DPO, BEST), "score"),
                    above=-0.1,
                ),
            ),
        ),
        Claim(
            "IPO's distance follows its strength",
            (Part("fall of KL a power of ten of beta (nats)", Slope(IPO, "kl", factor=-1.0)),),
        ),
    ),
    plots=(
        Against(
            "kl",
            title="How far does each go?",
            caption="beta of the means is 30 times that of the sums.",
        ),
        Against("score", title="What does it give?"),
        Against("score", "kl", "Score for how far it went"),
        Bars("win_rate", "How often does it beat the start?", level=0.5),
        Course("rewards/margins", "Do margins stop?", "margin, times beta"),
    ),
    limits=("few pairs with certain labels, passed over several times",),
)
