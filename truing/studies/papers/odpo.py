"""ODPO: does an offset that grows with the score gap give more score for the same KL?"""

from truing.studies.claims import Claim, Part
from truing.studies.plots import Against, Bars
from truing.studies.quantities import AtEqualKL, ParetoShare, Slope
from truing.studies.study import Paper, Plan, Rows, Setting, Study, grid, least

DPO, LOG, IDENTITY, RATIO = "DPO", "ODPO, log", "ODPO, identity", "ODPO, log-ratio"
MAIN = {
    DPO: "dpo(beta={v})",
    LOG: "odpo(beta={v}, alpha=0.5)",
    IDENTITY: 'odpo(beta={v}, alpha=0.5, scale="identity")',
}
ALL = {**MAIN, RATIO: 'odpo(beta={v}, alpha=0.5, scale="logratio")'}
FEW, MANY, ALPHA = "few pairs", "many pairs", "alpha"
SHIFT = 7.0  # scores reach down to about -6, and a log-ratio wants them above 0


def _budget(
    arm: str, methods: dict[str, str], count: int, epochs: int, *betas: float
) -> list[Setting]:
    rows = Rows(count, selection="random", temperature=0.0, shift=SHIFT)
    return list(grid(methods, betas, arm=arm, rows=rows, keys={"epochs": epochs}))


def _alphas(count: int, *alphas: float) -> list[Setting]:
    rows = Rows(count, selection="random", temperature=0.0, shift=SHIFT)
    return list(
        grid({"ODPO, log, beta 0.3": "odpo(beta=0.3, alpha={v})"}, alphas, arm=ALPHA, rows=rows)
    )


BETAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 2.0, 3.0, 5.0)
AMONG = (DPO, LOG, IDENTITY)
STUDY = Study(
    name="odpo",
    claim="An offset by the score gap gives more score for the same KL, most with few pairs",
    paper=Paper(
        title="Direct Preference Optimization with an Offset",
        source="arXiv:2402.10571",
        figure="Sentiment and toxicity: most points of the frontier of reward and KL are ODPO's, "
        "the more so the fewer pairs there are; a larger alpha gives more reward and more KL; the "
        "logarithm is the best scale.",
        certainty="the loss from the released code; the figures by detailed notes, not from the "
        "paper itself",
    ),
    plans={
        "smoke": least(
            *_budget(FEW, {DPO: MAIN[DPO], LOG: MAIN[LOG]}, 8, 1, 0.1), *_alphas(8, 1.0)
        ),
        "small": Plan(
            (
                *_budget(FEW, MAIN, 200, 5, 0.1, 0.3, 1.0, 3.0),
                *_budget(MANY, MAIN, 1000, 1, 0.1, 0.3, 1.0, 3.0),
            ),
        ),
        "full": Plan(
            (
                *_budget(FEW, ALL, 200, 5, *BETAS),
                *_budget("more pairs", ALL, 500, 2, *BETAS),
                *_budget(MANY, ALL, 1900, 1, *BETAS),
                *_alphas(500, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0),
            ),
            pairs=500,
        ),
    },
    claims=(
        Claim(
            "With few pairs ODPO (log) scores more than DPO at equal KL",
            (Part("score at equal KL, difference", AtEqualKL(LOG, DPO, arm=FEW)),),
        ),
        Claim(
            "With few pairs ODPO (log) has more than its share of the frontier",
            (Part("share of the frontier less share of points", ParetoShare(LOG, AMONG, FEW)),),
        ),
        Claim(
            "With many pairs ODPO (log) scores more than DPO at equal KL",
            (Part("score at equal KL, difference", AtEqualKL(LOG, DPO, arm=MANY)),),
        ),
        Claim(
            "The logarithm is a better scale than the gap itself, at equal KL",
            (Part("score at equal KL, log less identity", AtEqualKL(LOG, IDENTITY, arm=FEW)),),
        ),
        Claim(
            "A larger alpha gives more score and more KL",
            (
                Part(
                    "score, a power of ten of alpha", Slope("ODPO, log, beta 0.3", "score", ALPHA)
                ),
                Part("KL, a power of ten of alpha", Slope("ODPO, log, beta 0.3", "kl", ALPHA)),
            ),
        ),
    ),
    plots=(
        Against(
            "score",
            "kl",
            "Which gives more score for the same KL?",
            "Each point is a value of beta. Up and to the left is better.",
            is_log=False,
        ),
        Against("score", title="Score over beta"),
        Against("kl", title="KL over beta"),
        Bars("win_rate", "How often does it beat the start?", level=0.5),
    ),
    limits=(
        "scores are moved up by 7 so that all are above 0; gaps stay as they are, and only the "
        "log-ratio depends on it",
        "four in ten random pairs have a gap below 1, whose logarithm is negative: the offset then "
        "asks for less than DPO",
        "alpha is varied, and the log-ratio is run, at `full` alone",
    ),
)
