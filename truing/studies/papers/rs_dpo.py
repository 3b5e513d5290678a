"""RS-DPO: are many responses and a threshold on the score gap better than given pairs?"""

from truing.studies.claims import Claim, Part
from truing.studies.plots import Against, Bars
from truing.studies.quantities import more
from truing.studies.study import Paper, Plan, Rows, Setting, Study, least
from truing.studies.table import BEST, Point

GIVEN, BEST_WORST, RS, PICKED = (
    "given pairs", "best and worst of 8", "RS-DPO", "SFT on the best of 8",
)  # fmt: skip


def _round(select: str, responses: int) -> dict[str, object]:
    return {
        "rounds": {
            "count": 1,
            "pairs": "resampled",
            "prompts": "{prompts}",
            "sampler": f"generate(num_responses={responses}, batch_size=256)",
            "scorer": "{score}",
            "select": select,
        }
    }


def _settings(prompts: int, given: int, *betas: float, responses: int = 8) -> tuple[Setting, ...]:
    asked = Rows(prompts)
    sure = "rs_dpo(eta=0.9, tau=1.0, max_pairs=4)"
    found = []
    for beta in betas:
        dpo = f"dpo(beta={beta:g})"
        extremes, clean = _round("best_vs_worst()", responses), _round(sure, responses)
        found += [
            Setting(GIVEN, dpo, beta, rows=Rows(given, selection="random")),
            Setting(BEST_WORST, dpo, beta, rows=asked, keys={**extremes, "epochs": 4}),
            Setting(RS, dpo, beta, rows=asked, keys=clean),
        ]
    extremes = _round("best_vs_worst()", responses)
    for epochs in (2, 4)[: len(betas)]:
        found.append(
            Setting(PICKED, "sft()", float(epochs), rows=asked, keys={**extremes, "epochs": epochs})
        )
    return tuple(found)


def _best(method: str) -> Point:
    return Point(method, BEST)


STUDY = Study(
    name="rs_dpo",
    claim="Pairs of the policy's own responses with a sure gap beat given pairs",
    paper=Paper(
        title="RS-DPO: A Hybrid Rejection Sampling and Direct Preference Optimization Method",
        source="arXiv:2402.10038",
        figure="RS-DPO beats rejection sampling, PPO and DPO on given pairs on MT-Bench and "
        "AlpacaEval; a larger threshold gives fewer and cleaner pairs.",
        certainty="by notes; the constants were not checked",
    ),
    plans={
        "smoke": least(*_settings(6, 8, 0.1, responses=2)[1:2]),
        "small": Plan(_settings(120, 480, 0.1, 0.5)),
        "full": Plan(_settings(500, 1900, 0.03, 0.1, 0.3, 1.0)),
    },
    claims=(
        Claim(
            "RS-DPO scores more than DPO on given pairs",
            (Part("score, difference", more(_best(RS), _best(GIVEN), "score")),),
        ),
        Claim(
            "RS-DPO scores more than learning the best response",
            (Part("score, difference", more(_best(RS), _best(PICKED), "score")),),
        ),
        Claim(
            "RS-DPO scores more than the best against the worst",
            (Part("score, difference", more(_best(RS), _best(BEST_WORST), "score")),),
        ),
    ),
    plots=(
        Against("score", "kl", "Score for how far it went"),
        Bars("score", "Each at its best"),
        Bars("win_rate", "How often does it beat the start?", level=0.5),
    ),
    knob="beta or epochs",
    limits=(
        "steps are about equal (480 rows; 4 times 120; up to 4 pairs of 120 prompts), labels of "
        "given pairs are Bradley-Terry's of temperature 0.5 and the others' are the true score's",
    ),
)
