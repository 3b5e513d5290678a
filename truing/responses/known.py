"""Scores that need no judge: the truth of the embedded world, and those that came with the data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from truing.errors import ConfigError
from truing.responses.groups import Group, Said
from truing.responses.scorers import OpenScorer, Scorer, Verdict
from truing.world import score


@dataclass(frozen=True, repr=False)
class World(Scorer):
    """The known score of the embedded world, about -6 to +4; for its own prompts alone."""

    word: ClassVar[str] = "world"

    def key(self) -> str:
        """See `Scorer`."""
        return "world 1"

    def opened(self) -> OpenScorer:
        """See `Scorer`."""
        return _OpenWorld()


class _OpenWorld(OpenScorer):
    def __call__(self, groups: Sequence[Group]) -> list[Verdict]:
        return [self._of(group) for group in groups]

    def _of(self, group: Group) -> Verdict:
        try:
            values = [
                score(group.prompt.text, said.text, finished=said.finished)
                for said in group.responses
            ]
        except ConfigError as error:
            return Verdict((math.nan,) * len(group.responses), (error.what,))
        return Verdict.of(values)


@dataclass(frozen=True, repr=False)
class Given(Scorer):
    """The scores that lie beside the samples (see the sampler `folder`)."""

    word: ClassVar[str] = "given"

    def key(self) -> str:
        """See `Scorer`."""
        return "given"

    def opened(self) -> OpenScorer:
        """See `Scorer`."""
        return _OpenGiven()


def _beside(said: Said) -> tuple[float, str]:
    return (math.nan, "no score lies beside it") if said.score is None else (said.score, "")


class _OpenGiven(OpenScorer):
    def __call__(self, groups: Sequence[Group]) -> list[Verdict]:
        return [Verdict.of_each([_beside(said) for said in group.responses]) for group in groups]
