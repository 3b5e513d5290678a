"""MRPO: are several references better than each of them alone?"""

from truing.studies.claims import Claim, Part
from truing.studies.plots import Against, Bars
from truing.studies.quantities import more
from truing.studies.study import Paper, Plan, Setting, Study, grid, least
from truing.studies.table import BEST, Point

START, STRONGER, BOTH = "the start alone", "the stronger alone", "both (MRPO)"
REFERENCES = {
    STRONGER: "model(path='{stronger}')",
    BOTH: "several([policy_start(), model(path='{stronger}')])",
}
OBJECTIVES = {STRONGER: "dpo(beta={v})", BOTH: "mrpo(beta={v})"}


def _settings(*betas: float) -> tuple[Setting, ...]:
    found = list(grid({START: "dpo(beta={v})"}, betas))
    for name, reference in REFERENCES.items():
        found += grid({name: OBJECTIVES[name]}, betas, keys={"reference": reference})
    return tuple(found)


STUDY = Study(
    name="mrpo",
    claim="Two references together are better than each of them alone",
    paper=Paper(
        title="Multi-Reference Preference Optimization for Large Language Models",
        source="arXiv:2405.16388",
        figure="MRPO beats DPO with one reference and the sum of DPO losses (Multi-DPO), most with "
        "few preferences.",
        certainty="the released code, by reading; the tables by hearsay",
    ),
    plans={
        "smoke": least(*_settings(0.1)[2:]),
        "small": Plan(_settings(0.1, 0.5, 2.0), pairs=400),
        "full": Plan(_settings(0.03, 0.1, 0.3, 1.0, 3.0), pairs=1500),
    },
    claims=(
        Claim(
            "Both together score more than each alone",
            (
                Part("less the start alone", more(Point(BOTH, BEST), Point(START, BEST), "score")),
                Part(
                    "less the stronger alone",
                    more(Point(BOTH, BEST), Point(STRONGER, BEST), "score"),
                ),
            ),
        ),
        Claim(
            "Both together score more than the start alone",
            (Part("score, difference", more(Point(BOTH, BEST), Point(START, BEST), "score")),),
        ),
    ),
    plots=(
        Against("score", title="Score over beta"),
        Against("score", "kl", "Score for how far it went"),
        Bars("win_rate", "How often does it beat the start?", level=0.5),
    ),
    limits=("the second reference is of the same family; weights are adaptive, eta is 0.1",),
)
