"""DPO: more score for the same distance than learning the chosen responses, or picking the best?"""

from truing.studies.claims import Claim, Part
from truing.studies.plots import Against, Bars, Course
from truing.studies.quantities import AtEqualKL, more
from truing.studies.study import Paper, Plan, Setting, Study, grid, least
from truing.studies.table import BEST, Point

DPO, SFT, PICKED = "DPO", "SFT on chosen", "best of n"


def _settings(
    betas: tuple[float, ...], epochs: tuple[int, ...], numbers: tuple[int, ...]
) -> tuple[Setting, ...]:
    return (
        *grid({DPO: "dpo(beta={v})"}, betas),
        *(Setting(SFT, "sft()", float(n), keys={"epochs": n}) for n in epochs),
        *(Setting(PICKED, value=float(n), best_of=n) for n in numbers),
    )


STUDY = Study(
    name="dpo",
    claim="DPO gives more score for the same KL than learning the chosen responses",
    paper=Paper(
        title="Direct Preference Optimization: Your Language Model is Secretly a Reward Model",
        source="arXiv:2305.18290",
        figure="IMDb sentiment: DPO's frontier of reward and KL lies above PPO's and preferred "
        "fine-tuning's; TL;DR: 61 % wins at temperature 0 where PPO has 57 %, near best of 128.",
        certainty="the loss from the released code; the figures from memory of the paper",
    ),
    plans={
        "smoke": least(*_settings((0.1,), (), (2,))),
        "small": Plan(_settings((0.1, 0.5, 2.0), (1, 2, 4), (2, 4, 8)), pairs=600),
        "full": Plan(
            _settings((0.03, 0.1, 0.3, 1.0, 3.0), (1, 2, 3, 4, 6), (2, 4, 8, 16, 32)), pairs=1900
        ),
    },
    claims=(
        Claim(
            "DPO scores more than SFT on chosen at equal KL",
            (Part("score at equal KL, difference", AtEqualKL(DPO, SFT)),),
        ),
        Claim(
            "Each at its best, DPO scores more than SFT on chosen",
            (Part("best score, difference", more(Point(DPO, BEST), Point(SFT, BEST), "score")),),
        ),
        Claim(
            "DPO's frontier lies below that of picking the best of n by the true score",
            (Part("score at equal KL, best of n less DPO", AtEqualKL(PICKED, DPO)),),
            is_papers=False,
        ),
    ),
    plots=(
        Against(
            "score",
            "kl",
            "What does each give for how far it went?",
            "Best of n knows the true score; its KL is log n - (n - 1) / n.",
        ),
        Bars("win_rate", "How often does it beat the start?", level=0.5),
        Against("length", "kl", "How long?"),
        Course("rewards/margins", "How do margins grow?", "margin (nats)", methods=(DPO,)),
    ),
    knob="beta, epochs or n",
    limits=("there is no PPO here",),
)
