"""HPO: does a second reward beside the preferences move what the labels do not speak of?"""

from truing.studies.claims import Claim, Part
from truing.studies.plots import Against, Bars
from truing.studies.quantities import more
from truing.studies.study import Paper, Plan, Rows, Study, grid, least
from truing.studies.table import BEST, Point

ALONE, HPO = "preferences alone", "HPO"
ROWS = Rows(selection="random", length_bias=0.5)
OBJECTIVE = "hpo(dpo(beta=0.3), gamma={v}, temperature=1.0, tau=0.7, cap=5.0, average=True)"


def _settings(plan: tuple[float, ...], gammas: tuple[float, ...]) -> Plan:
    return Plan(
        (
            *grid({ALONE: "dpo(beta={v})"}, plan, rows=ROWS),
            *grid({HPO: OBJECTIVE}, gammas, rows=ROWS),
        ),
        pairs=500,
    )


STUDY = Study(
    name="hpo",
    claim="A second reward beside preferences improves what it measures, at little cost to them",
    paper=Paper(
        title="Unified Preference Optimization: Language Model Alignment Beyond the Preference "
        "Frontier (HPO)",
        source="arXiv:2405.17956",
        figure="Fewer violations of auxiliary rewards (toxicity, reading level) at the same win "
        "rate as KTO and DPO.",
        certainty="the structure by reviews and notes; its constants are not known, so those "
        "here are ours",
    ),
    plans={
        "smoke": least(*grid({HPO: OBJECTIVE}, (0.1,), rows=ROWS)),
        "small": _settings((0.1, 0.3, 1.0), (0.03, 0.1, 0.3)),
        "full": _settings((0.03, 0.1, 0.3, 1.0), (0.01, 0.03, 0.1, 0.3)),
    },
    claims=(
        Claim(
            "With the true score as second reward HPO scores more than preferences alone",
            (Part("score, difference", more(Point(HPO, BEST), Point(ALONE, BEST), "score")),),
        ),
    ),
    plots=(
        Bars("score", "The second reward"),
        Bars("length", "What the labels pay for"),
        Against("score", "length", "One against the other", is_log=False),
        Against("score", "kl", "Score for how far it went", is_log=False),
    ),
    knob="beta or gamma",
    limits=(
        "preferences follow length half of the way (dial 0.5), and the true score is the second "
        "reward: the two disagree on purpose",
        "the preference loss is DPO, not the paper's KTO",
    ),
)
