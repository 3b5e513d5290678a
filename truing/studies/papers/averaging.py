"""Averaging log-likelihoods: what do means over tokens trade, in length and in score?"""

from truing.studies.claims import Claim, Part
from truing.studies.plots import Against, Course
from truing.studies.quantities import AtEqualKL, Minus, Slope
from truing.studies.study import Paper, Plan, Rows, Study, grid, least

SUMS = {
    "DPO, sums": "dpo(beta={v})",
    "IPO, sums": "ipo(beta={v}, average=False)",
    "SLiC, sums": "hinge(beta={v})",
}
MEANS = {
    "DPO, means": "averaged(dpo(beta={v}))",
    "IPO, means": "averaged(ipo(beta={v}, average=False))",
    "SLiC, means": "averaged(hinge(beta={v}))",
}
PAIRS_OF = tuple(zip(SUMS, MEANS, strict=True))
ROWS = Rows(selection="random", length_bias=0.3)
TOKENS = 30.0  # of a response of the start, about: what a mean's beta is larger by


def _settings(*betas: float) -> Plan:
    values = dict.fromkeys(SUMS, betas) | dict.fromkeys(MEANS, tuple(TOKENS * b for b in betas))
    return Plan(grid({**SUMS, **MEANS}, values, rows=ROWS), pairs=900)


STUDY = Study(
    name="averaging",
    claim="Means over tokens in place of sums trade length against score",
    paper=Paper(
        title="Averaging log-likelihoods in direct alignment",
        source="arXiv:2406.19188",
        figure="There is a trade-off between the length of generations and their scores; averaged "
        "losses do not depend on length.",
        certainty="the losses by abstract and public code; the experiments could not be read, so "
        "sign and size of the trade-off are open",
    ),
    plans={
        "smoke": least(
            *grid(
                {"DPO, sums": SUMS["DPO, sums"], "DPO, means": MEANS["DPO, means"]},
                {"DPO, sums": (0.1,), "DPO, means": (3.0,)},
                rows=ROWS,
            )
        ),
        "small": _settings(0.05, 0.3, 2.0),
        "full": _settings(0.02, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0),
    },
    claims=(
        *(
            Claim(
                f"{sums.split(',')[0]}: means give shorter responses than sums at equal KL",
                (
                    Part(
                        "length of sums less that of means at equal KL",
                        AtEqualKL(sums, means, "length"),
                    ),
                ),
            )
            for sums, means in PAIRS_OF
        ),
        *(
            Claim(
                f"{sums.split(',')[0]}: the price is score: sums score more at equal KL",
                (Part("score of sums less that of means at equal KL", AtEqualKL(sums, means)),),
            )
            for sums, means in PAIRS_OF
        ),
        Claim(
            "With sums the length depends on beta more than with means (DPO)",
            (
                Part(
                    "fall of length a power of ten of beta, sums less means",
                    Minus(
                        Slope("DPO, sums", "length", factor=-1.0),
                        Slope("DPO, means", "length", factor=-1.0),
                    ),
                ),
            ),
            is_papers=False,
        ),
    ),
    plots=(
        Against(
            "score",
            "length",
            "Length against score",
            "Each point is a value of beta; labels pay a little for length (dial 0.3).",
            is_log=False,
        ),
        Against(
            "length", title="Length over beta", caption="A mean's beta is some 30 times a sum's."
        ),
        Against("score", title="Score over beta"),
        Against("score", "kl", "Score against KL", is_log=False),
        Against("length", "kl", "Length against KL", is_log=False),
        Course("rewards/accuracies", "Do both learn the training pairs?", "accuracy"),
    ),
    limits=("SLiC is the hinge on log-ratios to the reference, without its likelihood term",),
)
