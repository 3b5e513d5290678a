"""What changes from round to round, as values.

restart                     the reference is the policy as the round begins (iterative DPO)
frozen                      the reference stays the start of the first round
extrapolate(alpha=0.3)      as restart, and each round begins beyond the last one's end
"""

from dataclasses import dataclass
from typing import ClassVar

from truing.core.called import Called
from truing.core.knobs import NonNegative
from truing.core.language import parse_as


@dataclass(frozen=True, repr=False)
class Restart(Called):
    """Each round begins at the last one's end, which is also its reference."""

    word: ClassVar[str] = "restart"


@dataclass(frozen=True, repr=False)
class Frozen(Called):
    """Each round begins at the last one's end; the reference is the first round's start."""

    word: ClassVar[str] = "frozen"


@dataclass(frozen=True, repr=False)
class Extrapolate(Called):
    """Each round begins, with its reference, a step beyond the last one's end.

        start of the next round = end + alpha * (end - end of the round before)

    Before the first round there is the start itself. Weights stand in for the log-linear policies
    of the paper, for which the step multiplies by (end / end before)^alpha.

    Args:
        alpha: how far; 0 is `restart`. The authors' value is about 0.3.

    Source: arXiv:2410.06293 (accelerated preference optimization).
    """

    word: ClassVar[str] = "extrapolate"
    alpha: NonNegative


RoundReference = Restart | Frozen | Extrapolate
_NAMES = {kind.word: kind for kind in (Restart, Frozen, Extrapolate)}


def parse_round_reference(text: str) -> RoundReference:
    """What `rounds.reference` stands for; brackets without knobs may be left out.

    Raises:
        KnobError: there is no such policy of references, or a knob is wrong.
    """
    written = f"{text.strip()}()" if text.strip() in {"restart", "frozen"} else text
    return parse_as(written, _NAMES, RoundReference, "policy of references")
