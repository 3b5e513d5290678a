"""The prompts of the embedded world: notes on a house, requests for advice, requests for a story.

Of notes a response is right or wrong; advice and stories are open-ended, and stories are long. A
prompt's hash decides whether it may be trained on: `side_of` says "train" or "test", and the
generator of the models' training text asks it too, so no model has seen a prompt to tune or to
test on.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from random import Random
from typing import Literal

from truing.errors import ConfigError
from truing.world.tales import HEROES, PLACES, STORY_ASKS, TRAITS
from truing.world.words import (
    ASPECTS,
    FAMILIES,
    HOUSES,
    NAME_FIRST,
    NAME_LAST,
    NOTES_ASKS,
    OPENERS,
    Aspect,
    Family,
)

Side = Literal["train", "test"]
Split = Literal["train", "tuning", "test"]
Kind = Literal["notes", "advice", "story"]
SHORT: tuple[Kind, ...] = ("notes", "advice")
KINDS: tuple[Kind, ...] = ("notes", "advice", "story")
SIZES: dict[str, int] = {"train": 2000, "tuning": 150, "test": 600}
"""Prompts of each kind."""
TEST_SHARE = 0.25

_ASPECT_OF = {aspect.noun: aspect for aspect in ASPECTS}
_FAMILY_OF = {topic: family for family in FAMILIES for topic in family.topics}
_NOTES = re.compile(r"Notes on the (?P<name>\w+ \w+), (?P<house>an? [\w ]+): (?P<facts>.+?)\. ")
_STORY = re.compile(
    "|".join(
        re.escape(ask)
        .replace(re.escape("{trait}"), rf"(?P<trait{i}>{'|'.join(TRAITS)})")
        .replace(re.escape("{hero}"), rf"(?P<hero{i}>{'|'.join(HEROES)})")
        .replace(re.escape("{place}"), rf"an? (?P<place{i}>{'|'.join(PLACES)})")
        + "\n"
        for i, ask in enumerate(STORY_ASKS)
    )
)
_ADVICE = re.compile(
    r"(?:" + "|".join(map(re.escape, OPENERS)) + r") .*?\b(?P<topic>"
    r"" + "|".join(_FAMILY_OF) + r")\b.*\?\n"
)


@dataclass(frozen=True)
class Tale:
    """Whom and where a story is asked about."""

    trait: str
    hero: str
    place: str


@dataclass(frozen=True)
class Prompt:
    """What is asked, and what a right response must agree with.

    Exactly one of `facts`, `topic` and `tale` is given: notes have facts, requests for advice a
    topic, requests for a story its hero and place.

    Args:
        text: as the model sees it, its final line break included.
        facts: what the notes say, as (noun, adjective) in their order.
        topic: what advice is asked about; else "".
        tale: what the story is to be about; else None.
    """

    text: str
    facts: tuple[tuple[str, str], ...] = ()
    topic: str = ""
    tale: Tale | None = None

    @property
    def kind(self) -> Kind:
        """Either "notes", "advice" or "story"."""
        if self.tale is not None:
            return "story"
        return "advice" if self.topic else "notes"

    @property
    def family(self) -> Family:
        """The family of an advice prompt's topic."""
        return _FAMILY_OF[self.topic]


def aspect_of(noun: str) -> Aspect:
    """The aspect that a noun names."""
    return _ASPECT_OF[noun]


def side_of(text: str) -> Side:
    """Whether a prompt may be trained on, by a hash of its text alone."""
    number = int.from_bytes(sha256(text.encode()).digest()[:4])
    return "test" if number < TEST_SHARE * 2**32 else "train"


def draw_notes(random: Random) -> Prompt:
    """Notes on a house that name two to five aspects, each with one adjective."""
    aspects = random.sample(ASPECTS, random.choices((2, 3, 4, 5), (3, 4, 2, 1))[0])
    facts = tuple((a.noun, random.choice(a.praise + a.blame)) for a in aspects)
    listed = ", ".join(f"{noun} {adjective}" for noun, adjective in facts)
    name = f"{random.choice(NAME_FIRST)} {random.choice(NAME_LAST)}"
    ask = random.choice(NOTES_ASKS)
    text = f"Notes on the {name}, {random.choice(HOUSES)}: {listed}. {ask}\n"
    return Prompt(text, facts=facts)


def draw_advice(random: Random) -> Prompt:
    """A request for advice on one topic."""
    family = random.choice(FAMILIES)
    topic = random.choice(family.topics)
    # "an omelette": the only topic that begins with a vowel
    ask = random.choice(family.asks).replace("a {}", "an {}" if topic[0] in "aeiou" else "a {}")
    return Prompt(f"{random.choice(OPENERS)} {ask.format(topic)}\n", topic=topic)


def draw_story(random: Random) -> Prompt:
    """A request for a story."""
    tale = Tale(random.choice(TRAITS), random.choice(HEROES), random.choice(PLACES))
    place = ("an " if tale.place[0] in "aeiou" else "a ") + tale.place
    ask = random.choice(STORY_ASKS)
    return Prompt(ask.format(trait=tale.trait, hero=tale.hero, place=place) + "\n", tale=tale)


_DRAWS: dict[str, Callable[[Random], Prompt]] = {
    "notes": draw_notes,
    "advice": draw_advice,
    "story": draw_story,
}


def draw_prompt(random: Random, side: Side, kinds: tuple[Kind, ...] = SHORT) -> Prompt:
    """A prompt of one of some kinds from one side; the other side's are drawn again.

    A kind that is named twice comes twice as often.
    """
    draw = random.choice([_DRAWS[kind] for kind in kinds])
    while True:
        prompt = draw(random)
        if side_of(prompt.text) == side:
            return prompt


def prompts(split: Split, kinds: tuple[Kind, ...] = SHORT) -> tuple[Prompt, ...]:
    """The fixed prompts of a split, without repetition, kinds in turn.

    Of each kind there are 2,000 to train on, 150 to tune on and 600 to test on. The models were
    trained on text about the first sort only.

    Args:
        split: "train", "tuning" or "test".
        kinds: which; stories (`KINDS` has all three) are several times as long as the others.

    Raises:
        ConfigError: no such split or kind, or a kind that is named twice.
    """
    for given, known in ((split, SIZES), *((kind, _DRAWS) for kind in kinds)):
        if given not in known:
            raise ConfigError(
                f"neither split nor kind: {given!r}",
                where="world",
                fix=f"use one of {', '.join(known)}",
            )
    if len(set(kinds)) < len(kinds):
        raise ConfigError(
            f"a kind is named twice: {', '.join(kinds)}",
            where="world",
            fix="name each kind once; its prompts would come twice",
        )
    groups = [_fixed(split)[kind] for kind in kinds]
    return tuple(prompt for turn in zip(*groups, strict=True) for prompt in turn)


@cache
def _fixed(split: Split) -> dict[str, tuple[Prompt, ...]]:
    random = Random(f"prompts of the embedded world, {split}")
    # tuning prompts come from the side that no model has seen, and none is a test prompt
    taken = (
        {p.text for group in _fixed("test").values() for p in group} if split == "tuning" else set()
    )
    side: Side = "train" if split == "train" else "test"
    found: dict[str, tuple[Prompt, ...]] = {}
    for kind, draw in _DRAWS.items():
        group: dict[str, Prompt] = {}
        while len(group) < SIZES[split]:
            prompt = draw(random)
            if side_of(prompt.text) == side and prompt.text not in taken:
                group.setdefault(prompt.text, prompt)
        found[kind] = tuple(group.values())
    return found


@cache
def read_prompt(text: str) -> Prompt:
    """Understand a prompt's text, as it stands in a file of pairs or samples.

    Raises:
        ConfigError: the text is no prompt of this world.
    """
    notes, advice, story = _NOTES.match(text), _ADVICE.fullmatch(text), _STORY.fullmatch(text)
    if notes:
        words = [fact.split(" ", 1) for fact in notes["facts"].split(", ")]
        if all(len(w) == 2 and w[0] in _ASPECT_OF for w in words):
            return Prompt(text, facts=tuple((noun, adjective) for noun, adjective in words))
    if advice:
        return Prompt(text, topic=advice["topic"])
    if story:
        words = {
            name.rstrip("0123456789"): word for name, word in story.groupdict().items() if word
        }
        return Prompt(text, tale=Tale(**words))
    raise ConfigError(
        f"not a prompt of the embedded world: {text!r}",
        where="world",
        fix="score prompts from truing.world.prompts(...) only",
    )
