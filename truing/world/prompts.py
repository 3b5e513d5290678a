"""The prompts of the embedded world: notes on a house (one right answer), and requests for advice.

A prompt's hash decides whether it may be trained on: `split_of` says "train" or "test", and the
generator of the start's training text asks it too, so no test prompt was ever seen.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from random import Random
from typing import Literal

from truing.errors import ConfigError
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

Split = Literal["train", "test"]
SIZES: dict[str, int] = {"train": 4000, "test": 1200}
TEST_SHARE = 0.25

_ASPECT_OF = {aspect.noun: aspect for aspect in ASPECTS}
_FAMILY_OF = {topic: family for family in FAMILIES for topic in family.topics}
_NOTES = re.compile(r"Notes on the (?P<name>\w+ \w+), (?P<house>an? [\w ]+): (?P<facts>.+?)\. ")
_ADVICE = re.compile(
    r"(?:" + "|".join(map(re.escape, OPENERS)) + r") .*?\b(?P<topic>"
    r"" + "|".join(_FAMILY_OF) + r")\b.*\?\n"
)


@dataclass(frozen=True)
class Prompt:
    """What is asked, and what a right response must agree with.

    Exactly one of `facts` and `topic` is given: notes have facts, requests for advice a topic.

    Args:
        text: as the model sees it, its final line break included.
        facts: what the notes say, as (noun, adjective) in their order.
        topic: what advice is asked about; "" in notes.
    """

    text: str
    facts: tuple[tuple[str, str], ...] = ()
    topic: str = ""

    @property
    def kind(self) -> str:
        """Either "notes" or "advice"."""
        return "advice" if self.topic else "notes"

    @property
    def family(self) -> Family:
        """The family of an advice prompt's topic."""
        return _FAMILY_OF[self.topic]


def aspect_of(noun: str) -> Aspect:
    """The aspect that a noun names."""
    return _ASPECT_OF[noun]


def split_of(text: str) -> Split:
    """Where a prompt belongs, by a hash of its text alone."""
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


def draw_prompt(random: Random, split: Split) -> Prompt:
    """A prompt of either kind from one split; the other split's are drawn again."""
    draw = random.choice((draw_notes, draw_advice))
    while True:
        prompt = draw(random)
        if split_of(prompt.text) == split:
            return prompt


@cache
def prompts(split: Split) -> tuple[Prompt, ...]:
    """The fixed prompts of a split, without repetition: 4,000 to train on, 1,200 to test on.

    Notes and requests for advice alternate.

    Raises:
        ConfigError: no such split.
    """
    if split not in SIZES:
        raise ConfigError(
            f"no split called {split!r}", where="world", fix=f"use one of {', '.join(SIZES)}"
        )
    random = Random(f"prompts of the embedded world, {split}")
    notes, advice = (_distinct(draw, random, split) for draw in (draw_notes, draw_advice))
    return tuple(prompt for couple in zip(notes, advice, strict=True) for prompt in couple)


def _distinct(draw: Callable[[Random], Prompt], random: Random, split: Split) -> list[Prompt]:
    found: dict[str, Prompt] = {}
    while len(found) < SIZES[split] // 2:
        prompt = draw(random)
        if split_of(prompt.text) == split:
            found.setdefault(prompt.text, prompt)
    return list(found.values())


@cache
def read_prompt(text: str) -> Prompt:
    """Understand a prompt's text, as it stands in a file of pairs or samples.

    Raises:
        ConfigError: the text is no prompt of this world.
    """
    notes, advice = _NOTES.match(text), _ADVICE.fullmatch(text)
    if notes:
        words = [fact.split(" ", 1) for fact in notes["facts"].split(", ")]
        if all(len(w) == 2 and w[0] in _ASPECT_OF for w in words):
            return Prompt(text, facts=tuple((noun, adjective) for noun, adjective in words))
    if advice:
        return Prompt(text, topic=advice["topic"])
    raise ConfigError(
        f"not a prompt of the embedded world: {text!r}",
        where="world",
        fix="score prompts from truing.world.prompts(...) only",
    )
