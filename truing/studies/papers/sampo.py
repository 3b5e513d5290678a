"""SamPO: does drawing as many tokens of both sides take the reliance on length away?"""

from dataclasses import replace

from truing.studies.claims import Claim, Part
from truing.studies.plots import AcrossArms, Against, Bars, ByLength, Course, Drawn
from truing.studies.quantities import AtEqualKL, Measure, OverArms, more
from truing.studies.study import Paper, Plan, Rows, Setting, Study, grid, least
from truing.studies.table import BEST, Point
from truing.world import KINDS

PAID, FAIR, LONGER, SHORTER = "length is paid", "fair", "chosen longer", "chosen shorter"
ARMS = {
    PAID: Rows(selection="random", length_bias=0.5),
    FAIR: Rows(selection="random"),
    LONGER: Rows(selection="random", subset="longer"),
    SHORTER: Rows(selection="random", subset="shorter"),
}
DPO, SAMPO, KEPT = "DPO", "SamPO", "SamPO, end kept"
CORE = {DPO: "dpo(beta={v})", SAMPO: "sampo(beta={v})", KEPT: "sampo(beta={v}, keep_end=True)"}
OTHERS = {
    "SamPO, as released": "sampo(beta={v}, shared_positions=False)",
    "averaged": "averaged(dpo(beta={v}))",
    "SANorm": 'sampo(beta={v}, tokens="average")',
    "TopK": 'sampo(beta={v}, tokens="largest")',
    "R-DPO": "r_dpo(beta={v}, alpha=0.02)",
    "LD-DPO": "ld_dpo(beta={v}, alpha=0.5)",
    "SimPO": "simpo(beta={v}, gamma=0.5)",
}
ITERATIVE = {"iterative SamPO": "sampo(beta={v})"}
ROUNDS = {"rounds": {"count": 3, "pairs": "parts", "reference": "restart"}}


def _values(*betas: float) -> dict[str, tuple[float, ...]]:
    """As many values for each; means need some thirty times the beta of sums (their length)."""
    names = (*CORE, *OTHERS, *ITERATIVE)
    found = dict.fromkeys(names, betas)
    return found | {name: tuple(30 * b for b in betas) for name in ("averaged", "SimPO")}


def _arm(
    arm: str, methods: dict[str, str], *betas: float, rows: Rows | None = None
) -> list[Setting]:
    more_of = {"arm": arm, "rows": rows or ARMS[arm]}
    found = list(grid(methods, _values(*betas), **more_of))
    return [replace(s, keys=ROUNDS) if s.method in ITERATIVE else s for s in found]


def _small() -> Plan:
    settings = _arm(PAID, {**CORE, **OTHERS, **ITERATIVE}, 0.1, 0.5)
    for arm in (FAIR, LONGER, SHORTER):
        settings += _arm(arm, CORE, 0.1)
    return Plan(tuple(settings), pairs=800)


def _full() -> Plan:
    settings = [
        setting
        for arm in ARMS
        for setting in _arm(arm, {**CORE, **OTHERS, **ITERATIVE}, 0.03, 0.1, 0.3, 1.0)
    ]
    for dial in (0.25, 0.75, 1.0):
        rows = replace(ARMS[PAID], length_bias=dial)
        settings += _arm(f"{PAID}, dial {dial:g}", CORE, 0.03, 0.1, 0.3, 1.0, rows=rows)
    return Plan(tuple(settings), pairs=1800, kinds=KINDS)


def _drawn(plan: Plan) -> tuple[Drawn, ...]:
    from truing.studies.before import gaps_before_training, push_on_the_end_token

    return (*gaps_before_training(plan), *push_on_the_end_token(plan))


def _at(method: str, arm: str = PAID) -> Point:
    return Point(method, BEST, arm)


STUDY = Study(
    name="sampo",
    claim="Drawing as many tokens of both sides removes DPO's reliance on length",
    paper=Paper(
        title="Eliminating Biased Length Reliance of Direct Preference Optimization via "
        "Down-Sampled KL Divergence",
        source="arXiv:2406.10957",
        figure="Tulu2-13B: generated length 262 tokens before, 372 after DPO, 339 after SamPO; "
        "length-controlled win rate 15.0 against 17.6 (Table 2); on pairs whose chosen response is "
        "shorter, DPO's average of five benchmarks falls to 40.6 where SamPO keeps 49.7 (Table 1).",
        certainty="read in full, and the released code",
    ),
    plans={
        "smoke": least(
            *_arm(PAID, CORE, 0.1),
            *_arm(FAIR, {SAMPO: CORE[SAMPO]}, 0.1),
            *_arm(PAID, ITERATIVE, 0.1),
            pairs=12,
        ),
        "small": _small(),
        "full": _full(),
    },
    claims=(
        Claim(
            "Where labels pay for length, SamPO writes shorter responses than DPO, at no loss of "
            "score",
            (
                Part("DPO's length less SamPO's, tokens", more(_at(DPO), _at(SAMPO), "length")),
                Part("SamPO's score less DPO's", more(_at(SAMPO), _at(DPO), "score"), above=-0.1),
            ),
        ),
        Claim(
            "On pairs whose chosen response is shorter, SamPO's score is above DPO's",
            (
                Part(
                    "SamPO's score less DPO's",
                    more(_at(SAMPO, SHORTER), _at(DPO, SHORTER), "score"),
                ),
            ),
        ),
        Claim(
            "Where labels pay for length, SamPO wins more often than DPO at equal lengths",
            (
                Part(
                    "length-controlled win rates, difference",
                    more(_at(SAMPO), _at(DPO), "length_controlled_win_rate"),
                ),
            ),
        ),
        Claim(
            "Where labels pay for length, SamPO is shorter than DPO at equal KL",
            (
                Part(
                    "DPO's length less SamPO's at equal KL, tokens",
                    AtEqualKL(DPO, SAMPO, "length", PAID),
                ),
            ),
        ),
        Claim(
            "What SamPO's draw leaves of the push on the end token says on which data SamPO is "
            "longer than DPO",
            (
                Part(
                    "correlation over data of SamPO's length less DPO's with the push to go on",
                    OverArms(SAMPO, DPO, "length", "data_end_push", factor=-1.0),
                    above=0.5,
                ),
            ),
            is_papers=False,
        ),
        Claim(
            "Where labels pay for length, keeping the end token in the draw makes SamPO shorter",
            (
                Part(
                    "SamPO's length less that with the end kept",
                    more(_at(SAMPO), _at(KEPT), "length"),
                ),
            ),
            is_papers=False,
        ),
        Claim(
            "Hardly any response is cut at the cap, so the cap decides nothing above",
            (
                Part(
                    "SamPO's share of cut responses, times -1",
                    Measure(_at(SAMPO), "cut", factor=-1.0),
                    above=-0.1,
                ),
            ),
            is_papers=False,
        ),
    ),
    plots=(
        Bars("length", "How long are the responses?", "The start's are some 40 tokens long."),
        Bars("score", "How good are they in truth?"),
        Bars("length_controlled_win_rate", "How often do they win at equal lengths?", level=0.5),
        Bars("accurate_notes", "How often are notes told right? (the task with a right answer)"),
        Bars("score_advice", "How good is advice? (the open task)"),
        Bars("cut", "How many are cut at the cap?"),
        Against("score", "kl", "What does each give for how far it went?", is_log=False),
        Against("length", "kl", "How long is it for how far it went?", is_log=False),
        AcrossArms(
            "length",
            "data_end_push",
            DPO,
            (SAMPO, KEPT),
            "Does the push on the end token say who is longer?",
            "To the left of 0 the draw says “go on”.",
        ),
        ByLength(arms=(PAID, SHORTER)),
        Course("rewards/margins", "How do margins grow?", "margin (nats)", arm=PAID),
        Course("rewards/margins", "How do margins grow?", "margin (nats)", arm=SHORTER),
    ),
    limits=(
        "responses of this world have some 30 to 90 tokens, the paper's hundreds: one token, the "
        "end token, is a larger part of each",
        "at `small` only the data whose labels pay for length has two values a method; the three "
        "other sorts of data are trained at one value, 0.1, and nothing is tuned there",
        "R-DPO, LD-DPO and SimPO have a second knob, which stays at one value: their best may lie "
        "elsewhere",
    ),
    drawn=_drawn,
)
