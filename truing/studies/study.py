"""What a study is: settings to train, what is measured of each, and claims that can fail.

A study is one value in one file of `truing/studies/papers/`. Everything that a cell of it (one
setting, one seed) depends on is plain values, so that a cell is known by its content.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from truing.studies.claims import Claim
from truing.studies.plots import Drawn, Plot
from truing.studies.table import Point
from truing.world import MAX_NEW_TOKENS, SHORT
from truing.world.pairs import Selection, Subset
from truing.world.prompts import Kind

ScaleName = Literal["smoke", "small", "full"]
SCALES: tuple[ScaleName, ...] = ("smoke", "small", "full")


@dataclass(frozen=True)
class Rows:
    """Which preferences a setting learns from, by the dials of the embedded world.

    Args:
        count: rows; None: as many as the plan says.
        is_kwise: all responses of a prompt in one row, with their scores.
        shift: added to both scores, for objectives that need them above 0; gaps stay.
        selection: see `truing.world.pairs`, as the dials after it.
    """

    count: int | None = None
    selection: Selection = "best_vs_worst"
    subset: Subset = "all"
    length_bias: float = 0.0
    noise: float = 0.0
    temperature: float = 0.5
    is_kwise: bool = False
    shift: float = 0.0


@dataclass(frozen=True)
class Setting:
    """One point of a grid: a method, at one value of its knob, on one arm of the data.

    Args:
        method: its name on the page; methods are compared.
        objective: an expression.
        value: of the knob that is tuned; None: there is none.
        arm: which data or budget, by name; "" where there is one only.
        rows: what it learns from.
        keys: more keys of the run. In texts `{stronger}` and `{foreign}` are the folders of the
            embedded models, `{score}` is the score's expression, `{prompts}` a file of prompts to
            train on, `{texts}` one of the chosen responses as texts to be learned.
        rate: times the plan's learning rate.
        best_of: 0: the objective is trained; n: nothing is, the best of n responses of the start
            by the true score is taken.
        by_round: of a loop of rounds, whether the end of each earlier round is measured too.
    """

    method: str
    objective: str = ""
    value: float | None = None
    arm: str = ""
    rows: Rows = Rows()
    keys: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    rate: float = 1.0
    best_of: int = 0
    by_round: bool = False


@dataclass(frozen=True)
class Plan:
    """How much of everything at one scale.

    Args:
        settings: the grid.
        seeds: each setting is trained with each; a seed draws labels, order and noise of training.
        pairs: rows that a setting learns from, where it says nothing else.
        epochs: over them, where a setting's keys say nothing else.
        held: held-out pairs, labelled by the truth.
        tuning_prompts: on which a method's value is chosen; never among
        test_prompts: on which everything is reported. Both are asked with the same noise in
            every cell.
        kinds: of prompts.
    """

    settings: tuple[Setting, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    pairs: int = 800
    epochs: int = 1
    pairs_per_step: int = 8
    learning_rate: float = 5e-4
    held: int = 300
    tuning_prompts: int = 200
    test_prompts: int = 1000
    kinds: tuple[Kind, ...] = SHORT
    max_new_tokens: int = MAX_NEW_TOKENS


def least(*settings: Setting, **more: Any) -> Plan:
    """The plan of a smoke run: some four steps and a handful of prompts; it shows nothing."""
    tiny: dict[str, Any] = {
        "seeds": (0,),
        "pairs": 8,
        "pairs_per_step": 4,
        "held": 6,
        "tuning_prompts": 4,
        "test_prompts": 6,
        "max_new_tokens": 24,
    }
    return Plan(settings, **{**tiny, **more})


@dataclass(frozen=True)
class Paper:
    """What was claimed, and where.

    Args:
        title: of the paper.
        source: where it is found.
        figure: its numbers in a sentence, with the table or figure they stand in.
        certainty: how sure it is that the paper says so: read in full, in code, by hearsay.
    """

    title: str
    source: str
    figure: str
    certainty: str


@dataclass(frozen=True)
class Study:
    """A paper's claim as an experiment that runs here.

    Args:
        name: as `truing study NAME`.
        claim: in one sentence.
        paper: whose it is.
        plans: a plan for each scale.
        claims: checks; the first is the study's own.
        plots: what is drawn of the table of cells.
        knob: what the values of its settings are, for axes.
        limits: what the world or the grid cannot show, in sentences.
        shown: points whose samples are on the page beside those of the best values.
        drawn: figures that need no training, from the embedded world or by calculation.
    """

    name: str
    claim: str
    paper: Paper
    plans: Mapping[ScaleName, Plan]
    claims: tuple[Claim, ...]
    plots: tuple[Plot, ...]
    knob: str = "beta"
    limits: tuple[str, ...] = ()
    shown: tuple[Point, ...] = ()
    drawn: Callable[[Plan], tuple[Drawn, ...]] | None = None


def grid(
    methods: Mapping[str, str],
    values: Mapping[str, tuple[float, ...]] | tuple[float, ...],
    **more: Any,
) -> tuple[Setting, ...]:
    """Every method at every value; `{v}` in its expression is the value.

    Args:
        methods: expressions by name.
        values: of the knob; by method where their scales differ (as many for each).
        more: other fields of all the settings.
    """
    of_method = values if isinstance(values, Mapping) else dict.fromkeys(methods, values)
    return tuple(
        Setting(name, expression.replace("{v}", f"{value:g}"), value, **more)
        for name, expression in methods.items()
        for value in of_method[name]
    )
