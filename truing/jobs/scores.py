"""What a response is worth: scorers by their expression, for evaluation."""

from collections.abc import Callable, Sequence

import numpy as np

from truing.errors import RowError
from truing.responses.groups import Asked as Prompt
from truing.responses.groups import Group, Said
from truing.responses.parse import parse_scorer

Asked = tuple[Prompt | str, str, bool]
"""Prompt (as it was asked, or its text), response, and whether it came to its end."""
Score = Callable[[Sequence[Asked]], list[float]]

LENGTH = "length()"


def score_key(expression: str) -> str:
    """Everything that a score depends on beside the text: its knobs, files and weights."""
    return expression if expression == LENGTH else parse_scorer(expression).key()


def score_of(expression: str) -> Score:
    """The score that an expression stands for; "length()" is the rule “the longer one wins”.

    Raises:
        KnobError: an unknown name or a wrong argument.
        RowError: while scoring: some response has no score.
    """
    if expression == LENGTH:
        return lambda asked: [float(len(text)) for _, text, _ in asked]
    opened = parse_scorer(expression).opened()

    def score(asked: Sequence[Asked]) -> list[float]:
        prompts = [p if isinstance(p, Prompt) else Prompt(p) for p, _, _ in asked]
        groups = [
            Group(prompt, (Said(text, finished=end),))
            for prompt, (_, text, end) in zip(prompts, asked, strict=True)
        ]
        verdicts = opened(groups)
        values = [verdict.scores[0] for verdict in verdicts]
        bad = [place for place, value in enumerate(values) if not np.isfinite(value)]
        if bad:
            why = "; ".join(dict.fromkeys(verdicts[bad[0]].faults)) or "it is not finite"
            raise RowError(
                f"{len(bad)} of {len(asked)} responses have no score ({why})",
                where=f"{expression} on the prompt {prompts[bad[0]].text[:60]!r}",
                fix="take a score that knows these prompts, or leave them out",
            )
        return values

    return score
