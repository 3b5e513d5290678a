"""How well texts are known: the loss of a supervised run on rows that it has not seen.

N texts, a row each; log-probs in nats.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from truing.evaluation.bootstrap import Array, Estimate, RatioOfSums, Statistic, estimate
from truing.evaluation.pairs import check_columns, flat


@dataclass(frozen=True, eq=False)
class TextTable:
    """Texts that a policy has scored.

    Raises:
        RowError: columns of different lengths, no row, a log-prob that is not finite.
    """

    logp: Float[Array, "N"]
    """Summed over the tokens that carry loss."""
    length: Int[Array, "N"]
    """How many these are, the end token counted."""
    start: Float[Array, "N"] | None = None
    """The same sum under the start."""
    prompt: Int[Array, "N"] | None = None
    """Which prompt a text belongs to; texts of one prompt are resampled together."""

    def __post_init__(self) -> None:
        columns = {"logp": self.logp, "length": self.length, "start": self.start}
        check_columns(columns | {"prompt": self.prompt}, "table of texts")


@dataclass(frozen=True)
class TextResult:
    """What `evaluate_texts` found; `to_json` gives it as plain numbers."""

    texts: int
    tokens: int
    estimates: Mapping[str, Estimate]

    def to_json(self) -> dict[str, float | int | None]:
        """`nll`, `perplexity`, `nll_before`, `nll_change` with `NAME_low` and `NAME_high`."""
        numbers: dict[str, float | int | None] = {"texts": self.texts, "tokens": self.tokens}
        numbers |= flat(self.estimates)
        for name in [name for name in numbers if name == "nll" or name.startswith("nll_")]:
            value = numbers[name]
            if value is not None and "change" not in name:
                numbers[name.replace("nll", "perplexity")] = float(np.exp(min(value, 700.0)))
        return numbers


def evaluate_texts(table: TextTable, *, seed: int = 0) -> TextResult:
    """Negative log-likelihood in nats a token, that of the start, and the difference.

    Intervals are bootstrap ones over prompts (95 %).
    """
    tokens = table.length.astype(float)
    asked: dict[str, Statistic] = {"nll": RatioOfSums(-table.logp, tokens)}
    if table.start is not None:
        asked["nll_before"] = RatioOfSums(-table.start, tokens)
        asked["nll_change"] = RatioOfSums(table.start - table.logp, tokens)
    found = estimate(asked, table.prompt, seed=seed)
    return TextResult(len(table.logp), int(tokens.sum()), found)
