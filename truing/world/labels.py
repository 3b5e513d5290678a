"""Who prefers which response: a labeller with dials, whose probabilities are known.

    utility       = (1 - length_bias) * score + length_bias * WORTH_OF_A_WORD * words
    P(a before b) = sigmoid((utility_a - utility_b) / temperature)
    P(label is turned round) = noise

Source of the draw: Bradley and Terry 1952, "Rank analysis of incomplete block designs".
"""

import math
from dataclasses import dataclass

from truing.errors import ConfigError
from truing.world.pool import Candidate

WORTH_OF_A_WORD = 0.07
"""Score a word, so that lengths spread as widely as scores among the start's responses."""


@dataclass(frozen=True)
class Labeller:
    """Prefers good responses, or long ones, more or less surely.

    Args:
        length_bias: 0: labels follow the score alone; 1: the length alone.
        noise: share of labels that are turned round, whatever the pair; below one half.
        temperature: how unsure the labeller is, in units of the score; 0: the higher utility
            always wins.

    Raises:
        ConfigError: a value out of its range.
    """

    length_bias: float = 0.0
    noise: float = 0.0
    temperature: float = 0.5

    def __post_init__(self) -> None:
        faults = {
            "length_bias must lie between 0 and 1": not 0 <= self.length_bias <= 1,
            "noise must be 0 or more and below 0.5": not 0 <= self.noise < 0.5,
            "temperature must be a finite number, 0 or more": not 0 <= self.temperature < math.inf,
        }
        for fault, is_true in faults.items():
            if is_true:
                raise ConfigError(fault, where=repr(self), fix="change the value, or leave it out")

    def utility(self, one: Candidate) -> float:
        """What the labeller sees in a response, in units of the score."""
        length = WORTH_OF_A_WORD * one.words
        return (1 - self.length_bias) * one.score + self.length_bias * length

    def win_probability(self, one: Candidate, other: Candidate) -> float:
        """How likely `one` is preferred to `other`, before labels are turned round."""
        gap = self.utility(one) - self.utility(other)
        if self.temperature == 0 or gap == 0:
            return 0.5 + 0.5 * ((gap > 0) - (gap < 0))
        # tanh: no overflow at any gap
        return 0.5 + 0.5 * math.tanh(0.5 * gap / self.temperature)
