"""Accelerated preference optimization: does a step beyond each round's end save rounds?"""

from truing.studies.claims import Claim, Part
from truing.studies.plots import Against, Bars
from truing.studies.quantities import Measure, Minus, more
from truing.studies.study import Paper, Plan, Setting, Study, least
from truing.studies.table import Point

ITERATIVE, ACCELERATED = "iterative DPO", "accelerated"
REFERENCES = {ITERATIVE: "restart", ACCELERATED: "extrapolate(alpha=0.3)"}


def _settings(count: int, *betas: float, responses: int = 4) -> tuple[Setting, ...]:
    return tuple(
        Setting(
            name,
            f"dpo(beta={beta:g})",
            beta,
            keys={
                "rounds": {
                    "count": count,
                    "pairs": "resampled",
                    "reference": reference,
                    "prompts": "{prompts}",
                    "sampler": f"generate(num_responses={responses}, batch_size=256)",
                    "scorer": "{score}",
                    "select": "best_vs_worst()",
                }
            },
            by_round=True,
        )
        for name, reference in REFERENCES.items()
        for beta in betas
    )


def _at(method: str, beta: float = 0.3) -> Point:
    return Point(method, beta)


STUDY = Study(
    name="accelerated",
    claim="With extrapolation two rounds give what three rounds of iterative DPO give",
    paper=Paper(
        title="Accelerated Preference Optimization for Large Language Model Alignment",
        source="arXiv:2410.06293",
        figure="AlpacaEval 2, length-controlled, three rounds: 31.7 against 30.0 of iterative DPO; "
        "two rounds are about as good as three without.",
        certainty="by notes; the value of alpha (0.3) is uncertain",
    ),
    plans={
        "smoke": least(*_settings(2, 0.3, responses=2)[1:]),
        "small": Plan(_settings(3, 0.3), pairs=150, test_prompts=600),
        "full": Plan(_settings(3, 0.1, 0.3, 1.0), pairs=600, epochs=2),
    },
    claims=(
        Claim(
            "After two rounds the accelerated policy scores no less than iterative DPO after three",
            (
                Part(
                    "score after 2 less iterative DPO's after 3",
                    Minus(
                        Measure(_at(ACCELERATED), "score_round_2"),
                        Measure(_at(ITERATIVE), "score"),
                    ),
                    above=-0.05,
                ),
            ),
        ),
        Claim(
            "After three rounds it scores more",
            (Part("score, difference", more(_at(ACCELERATED), _at(ITERATIVE), "score")),),
        ),
    ),
    plots=(
        Bars("score_round_1", "After the first round (both are alike)"),
        Bars("score_round_2", "After the second round"),
        Bars("score", "After the last round"),
        Against("score", "kl", "Score for how far it went", is_log=False),
    ),
    limits=("alpha is 0.3 throughout; at `small` beta is 0.3 throughout, so nothing is tuned",),
)
