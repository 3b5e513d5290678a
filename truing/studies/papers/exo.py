"""EXO: does the reverse KL give more score for the same distance than DPO's forward KL?"""

from truing.studies.claims import Claim, Part
from truing.studies.plots import Against, Bars
from truing.studies.quantities import AtEqualKL, more
from truing.studies.study import Paper, Plan, Rows, Study, grid, least
from truing.studies.table import BEST, Point

DPO, EXO, SETS = "DPO", "EXO, pairs", "EXO, four scored responses"
METHODS = {DPO: "dpo(beta={v})", EXO: "exo(beta={v})"}
KWISE = {SETS: "exo(beta={v}, beta_reward=0.5)"}


def _settings(*betas: float, sets: int) -> Plan:
    of_sets = grid(KWISE, betas, rows=Rows(sets, is_kwise=True))
    return Plan((*grid(METHODS, betas), *of_sets), pairs=400)


STUDY = Study(
    name="exo",
    claim="EXO gives more score for the same KL than DPO",
    paper=Paper(
        title="Towards Efficient Exact Optimization of Language Model Alignment",
        source="arXiv:2402.00856",
        figure="IMDb: EXO's frontier of oracle reward and reverse KL lies above DPO's and PPO's; "
        "more so with K > 2 scored responses.",
        certainty="the released code; the figures from memory of the paper",
    ),
    plans={
        "smoke": least(
            *grid({EXO: METHODS[EXO]}, (0.1,)), *grid(KWISE, (0.1,), rows=Rows(8, is_kwise=True))
        ),
        "small": _settings(0.1, 0.5, 2.0, sets=200),
        "full": _settings(0.03, 0.1, 0.3, 1.0, 3.0, sets=1000),
    },
    claims=(
        Claim(
            "EXO on pairs scores more than DPO at equal KL",
            (Part("score at equal KL, difference", AtEqualKL(EXO, DPO)),),
        ),
        Claim(
            "Each at its best, EXO on pairs scores more than DPO",
            (Part("score, difference", more(Point(EXO, BEST), Point(DPO, BEST), "score")),),
        ),
        Claim(
            "Four scored responses are better than pairs, at equal KL",
            (Part("score at equal KL, difference", AtEqualKL(SETS, EXO)),),
        ),
    ),
    plots=(
        Against("score", "kl", "Which gives more score for the same KL?"),
        Against("score", title="Score over beta"),
        Bars("win_rate", "How often does it beat the start?", level=0.5),
    ),
    limits=("pairs are the best against the worst of four; a set of four is all of them",),
)
