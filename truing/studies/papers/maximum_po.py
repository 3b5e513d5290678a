"""Maximum preference optimization: is offline text enough of a reference?"""

from truing.studies.claims import Claim, Part
from truing.studies.plots import Against, Bars
from truing.studies.quantities import more
from truing.studies.study import Paper, Plan, Study, grid, least
from truing.studies.table import BEST, Point

DPO, MPO = "DPO", "maximum PO"
METHODS = {DPO: "dpo(beta={v})", MPO: 'maximum_po(beta_r={v}, reduction="sequence_mean")'}


def _settings(*values: tuple[float, ...]) -> Plan:
    of_dpo, of_mpo = values
    texts = {"auxiliary": {"sft": "{texts}"}}
    return Plan(
        (*grid({DPO: METHODS[DPO]}, of_dpo), *grid({MPO: METHODS[MPO]}, of_mpo, keys=texts)),
        pairs=500,
    )


STUDY = Study(
    name="maximum_po",
    claim="Without a reference model, beside offline text, it is no worse than DPO",
    paper=Paper(
        title="Preference as Reward, Maximum Preference Optimization with Importance Sampling",
        source="arXiv:2312.16430",
        figure="Competitive with DPO and IPO without a reference model; reference data keeps other "
        "abilities.",
        certainty="by notes; reductions and weights were not checked",
    ),
    plans={
        "smoke": least(*_settings((), (0.5,)).settings),
        "small": _settings((0.1, 0.5, 2.0), (0.1, 0.5, 2.0)),
        "full": _settings((0.03, 0.1, 0.3, 1.0, 3.0), (0.03, 0.1, 0.3, 1.0, 3.0)),
    },
    claims=(
        Claim(
            "Each at its best, maximum PO scores no less than DPO",
            (
                Part(
                    "score, difference",
                    more(Point(MPO, BEST), Point(DPO, BEST), "score"),
                    above=-0.1,
                ),
            ),
        ),
    ),
    plots=(
        Against("score", "kl", "Score for how far it went"),
        Against("score", title="Score over the weight"),
        Bars("win_rate", "How often does it beat the start?", level=0.5),
    ),
    knob="beta or weight of the offline text",
    limits=("the offline text is the chosen responses; no pretraining text beside it",),
)
