"""Preference pairs of the embedded world, with dials: `pairs("train", length_bias=0.5)`.

Responses are the start's own. A couple's label is one draw that depends on the seed, the prompt
and the couple alone, so two settings of a dial differ in the labels that the dial turns, and more
pairs begin with the same ones.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from truing.errors import ConfigError
from truing.world.labels import Labeller
from truing.world.pool import Candidate, Group, checked_count, groups
from truing.world.prompts import KINDS, Kind, Prompt, Split

Selection = Literal["random", "best_vs_worst", "all"]
Subset = Literal["all", "longer", "shorter"]

_KEEPS: Mapping[str, tuple[bool, bool]] = MappingProxyType(
    {"all": (True, True), "longer": (True, False), "shorter": (False, True)}
)
"""Whether a pair stays whose chosen response is longer, and one whose is shorter."""


@dataclass(frozen=True)
class Pair:
    """Two responses to one prompt, one of them preferred.

    Args:
        win_probability: how likely the labeller prefers the chosen one, before labels are turned
            round; below one half where the draw went against the odds.
    """

    prompt: Prompt
    chosen: Candidate
    rejected: Candidate
    win_probability: float

    @property
    def gap(self) -> float:
        """Score of the chosen response minus that of the rejected one."""
        return self.chosen.score - self.rejected.score

    def to_row(self) -> dict[str, Any]:
        """As a row of a file of preferences."""
        return {
            "prompt": self.prompt.text,
            "chosen": self.chosen.text,
            "rejected": self.rejected.text,
            "score_chosen": round(self.chosen.score, 4),
            "score_rejected": round(self.rejected.score, 4),
            "win_probability_chosen": round(self.win_probability, 6),
        }


def pairs(
    split: Split = "train",
    *,
    kinds: tuple[Kind, ...] = KINDS,
    selection: Selection = "random",
    subset: Subset = "all",
    length_bias: float = 0.0,
    noise: float = 0.0,
    temperature: float = 0.5,
    count: int | None = None,
    seed: int = 0,
) -> tuple[Pair, ...]:
    """Pairs of the start's responses to the prompts of a split, labelled.

    Responses that were cut, that say the same, or that the labeller finds equal make no pair.

    Args:
        split: of the prompts.
        kinds: of prompts; they come in turn.
        selection: "random": one couple a prompt; "best_vs_worst": the two that the labeller finds
            best and worst; "all": every couple of each prompt.
        subset: "longer" keeps pairs whose chosen response has more words, "shorter" those where
            it has fewer; with "random" the first couple of a prompt that is so labelled. With
            length_bias=0 this is length by selection alone: no label was given for length.
        length_bias: 0: labels follow the score; 1: the length. See `Labeller`.
        noise: share of labels turned round.
        temperature: of the labels, in units of the score; 0: no draw.
        count: only the first so many.
        seed: of couples and labels.

    Raises:
        ConfigError: an unknown name, a dial out of its range, or fewer pairs than asked for.
    """
    for given, known in ((selection, _COUPLES), (subset, _KEEPS)):
        if given not in known:
            raise ConfigError(
                f"no such choice: {given!r}", where="world", fix=f"use one of {', '.join(known)}"
            )
    labeller = Labeller(length_bias, noise, temperature)
    found: list[Pair] = []
    for group in groups(split, kinds):
        # One stream a prompt: what is asked of one prompt changes nothing at the next.
        random = Random(f"pairs of the embedded world, {seed}, {group.prompt.text}")
        couples = _COUPLES[selection](group, labeller, random)
        labelled = (_labelled(group.prompt, couple, labeller, seed) for couple in couples)
        kept = (pair for pair in labelled if pair is not None and _is_kept(pair, subset))
        found += islice(kept, 1 if selection == "random" else None)
    return tuple(found[: checked_count(count, len(found), "pairs")])


Couple = tuple[Candidate, Candidate]


def _all_couples(group: Group, labeller: Labeller, random: Random) -> list[Couple]:
    return list(combinations([one for one in group.candidates if one.finished], 2))


def _random_couples(group: Group, labeller: Labeller, random: Random) -> list[Couple]:
    couples = _all_couples(group, labeller, random)
    return random.sample(couples, len(couples))


def _extremes(group: Group, labeller: Labeller, random: Random) -> list[Couple]:
    ranked = sorted((one for one in group.candidates if one.finished), key=labeller.utility)
    return [(ranked[0], ranked[-1])] if len(ranked) > 1 else []


_COUPLES = MappingProxyType(
    {"random": _random_couples, "best_vs_worst": _extremes, "all": _all_couples}
)


def _labelled(prompt: Prompt, couple: Couple, labeller: Labeller, seed: int) -> Pair | None:
    one, other = sorted(couple, key=lambda candidate: candidate.text)
    if one.text == other.text or labeller.utility(one) == labeller.utility(other):
        return None
    random = Random(f"label, {seed}, {prompt.text}, {one.text}, {other.text}")
    wins = labeller.win_probability(one, other)
    draw, turn = random.random(), random.random()
    if (draw < wins) == (turn >= labeller.noise):
        return Pair(prompt, one, other, wins)
    return Pair(prompt, other, one, 1 - wins)


def _is_kept(pair: Pair, subset: Subset) -> bool:
    longer, shorter = _KEEPS[subset]
    difference = pair.chosen.words - pair.rejected.words
    return (longer and shorter) or (longer and difference > 0) or (shorter and difference < 0)


@dataclass(frozen=True)
class PairFacts:
    """What can be said of some pairs before training.

    Args:
        longer_wins: share of pairs of unlike length whose chosen response has more words.
        follows_score: share of pairs of unlike score whose chosen response has the higher one.
        gaps: 5th, 25th, 50th, 75th and 95th percentile of the scores' absolute difference.
    """

    pairs: int
    longer_wins: float
    follows_score: float
    gaps: tuple[float, ...]


def describe_pairs(some: Sequence[Pair]) -> PairFacts:
    """Count who wins, and how far the scores lie apart."""
    words = np.array([pair.chosen.words - pair.rejected.words for pair in some])
    gaps = np.array([pair.gap for pair in some])
    return PairFacts(
        pairs=len(some),
        longer_wins=float((words[words != 0] > 0).mean()),
        follows_score=float((gaps[gaps != 0] > 0).mean()),
        gaps=tuple(float(g) for g in np.percentile(np.abs(gaps), (5, 25, 50, 75, 95))),
    )


def write_rows(path: Path, some: Iterable[Pair | Group]) -> int:
    """Write pairs or groups as JSON lines, as `truing train --data` reads them; their number."""
    lines = [json.dumps(one.to_row(), ensure_ascii=False) + "\n" for one in some]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)
