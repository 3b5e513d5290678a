"""Reference policies: how strong a tie is best, and does a stronger reference help?"""

from truing.studies.claims import Claim, Part
from truing.studies.plots import Against, Bars
from truing.studies.quantities import BestApart, Measure, more
from truing.studies.study import Paper, Plan, Setting, Study, grid, least
from truing.studies.table import BEST, Point

DPO, POSTERIOR, LIKELIHOOD = "DPO", "posterior", "likelihood"
NEAR, FAR = "stronger, same family", "stronger, other tokenizer"
OBJECTIVES = {
    DPO: "dpo(beta={v})",
    POSTERIOR: "posterior(beta={v})",
    LIKELIHOOD: "likelihood_ratio(beta={v})",
    NEAR: "dpo(beta={v})",
    FAR: "dpo(beta={v})",
}
REFERENCES = {
    NEAR: "model(path='{stronger}')",
    FAR: "model(path='{foreign}')",
}


def _settings(*betas: float, methods: tuple[str, ...] = tuple(OBJECTIVES)) -> tuple[Setting, ...]:
    return tuple(
        setting
        for name in methods
        for setting in grid({name: OBJECTIVES[name]}, betas, keys=_keys(name))
    )


def _keys(method: str) -> dict[str, str]:
    return {"reference": REFERENCES[method]} if method in REFERENCES else {}


LEAST, MOST = 0.01, 8.0
BETAS = (LEAST, 0.1, 0.3, 1.0, MOST)


def _best(method: str) -> Point:
    return Point(method, BEST)


STUDY = Study(
    name="reference_policies",
    claim="DPO has a best strength in the middle, with a cliff on the weak side",
    paper=Paper(
        title="Understanding Reference Policies in Direct Preference Optimization",
        source="arXiv:2407.13709",
        figure="Mistral-7B, length-controlled win rate at beta 0.1, 0.05, 0.02, 0.01, 0.005: 14.0, "
        "13.3, 16.1, 16.3, 12.4, and Tulu2-7B degenerates at 0.005; best DPO 16.3, likelihood "
        "13.6, posterior 12.8; with a stronger model of the same family as reference 20.3, at "
        "beta 1.",
        certainty="the released code and its tables; the text by notes",
    ),
    plans={
        "smoke": least(*_settings(0.1, methods=(DPO, LIKELIHOOD, NEAR, FAR))),
        "small": Plan(_settings(*BETAS), pairs=600, epochs=2),
        "full": Plan(_settings(LEAST, 0.03, 0.1, 0.3, 1.0, 3.0, MOST), pairs=1900, epochs=2),
    },
    claims=(
        Claim(
            "Score is best at a strength in the middle",
            (
                Part("best less weakest tie, score", more(_best(DPO), Point(DPO, LEAST), "score")),
                Part("best less strongest tie, score", more(_best(DPO), Point(DPO, MOST), "score")),
            ),
        ),
        Claim(
            "The weak side is a cliff: at 0.01 DPO is worse than the start",
            (Part("score lost to the start", Measure(Point(DPO, LEAST), "score_gain", -1.0)),),
        ),
        Claim(
            "Each at its best strength, DPO beats posterior and likelihood",
            (
                Part(
                    "DPO's score less the posterior's", more(_best(DPO), _best(POSTERIOR), "score")
                ),
                Part(
                    "DPO's score less the likelihood's",
                    more(_best(DPO), _best(LIKELIHOOD), "score"),
                ),
            ),
        ),
        Claim(
            "A stronger reference of the same family helps",
            (
                Part(
                    "its best score less that with the start",
                    more(_best(NEAR), _best(DPO), "score"),
                ),
            ),
        ),
        Claim(
            "With it the best strength is larger",
            (Part("powers of ten between the best betas", BestApart(NEAR, DPO)),),
        ),
        Claim(
            "A stronger reference of another family, with another tokenizer, does not help",
            (
                Part(
                    "best score with the start less that with it",
                    more(_best(DPO), _best(FAR), "score"),
                ),
            ),
        ),
    ),
    plots=(
        Against("score", title="The best strength lies in the middle?"),
        Against("win_rate", title="How often does it beat the start?", level=0.5),
        Against("kl", title="How far does it go?"),
        Against("broken", title="Where does it fall apart?"),
        Against("length", title="How long are its responses?"),
        Against("score", "kl", "Score for how far it went"),
        Bars("score", "Each at its best strength"),
    ),
    limits=(
        "KL is always to the start, also where the reference is another model",
        "the embedded model of the other family is better than the start at advice and alike at "
        "notes",
    ),
    shown=(Point(DPO, LEAST), Point(DPO, 0.1), Point(DPO, 1.0), Point(DPO, MOST)),
)
