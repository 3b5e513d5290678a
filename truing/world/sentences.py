"""Every sentence that the embedded world understands, each with its meaning.

The lists are finite, so a sentence is understood by looking it up: one that is not found, word for
word, is broken. Weights differ by form, so that scores of two responses seldom tie.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from types import MappingProxyType

from truing.world.tales import CRUELTIES, ENDINGS, HEROES, OPENINGS, PLACES, SCENES, TRAITS
from truing.world.words import (
    ASPECTS,
    FAMILIES,
    FILLER,
    POLITE,
    RAMBLING,
    RUDE,
    Aspect,
)

LEADS = ("First, ", "Also, ", "Besides, ", "In addition, ")
"""What may stand before a fact or a tip; it changes neither meaning nor value."""

EXACT_FACTS = MappingProxyType(
    {
        "The notes say that the {noun} {verb} {adjective}.": 1.2,
        "You will find that the {noun} {verb} {adjective}.": 1.1,
        "The {noun} {verb} {adjective}.": 1.0,
        "You can expect {phrase}.": 0.95,
        "I would say that the {noun} {verb} {adjective}.": 0.9,
        "People find the {noun} rather {adjective}.": 0.8,
    }
)
"""Statements that name the adjective, with their weights."""

PRAISE_FACTS = MappingProxyType(
    {"You will like the {noun}.": 0.7, "The {noun} {verb} worth the visit.": 0.6}
)
BLAME_FACTS = MappingProxyType(
    {"You will not like the {noun}.": 0.7, "The {noun} {verb} a letdown.": 0.6}
)
TIP_WEIGHTS = (1.2, 1.1, 1.0, 0.95, 0.9, 0.8, 0.7)
MISTAKE_WEIGHTS = (1.2, 1.1, 1.0, 0.9)


@dataclass(frozen=True)
class Meaning:
    """What one sentence says, before it is known what was asked.

    Args:
        kind: "fact", "tip", "mistake", "polite", "filler", "rambling" or "rude"; in stories
            "opening", "scene", "ending" or "cruelty".
        subject: the noun of a fact, the topic of a tip or mistake, the hero of a story; else "".
        trait: of the hero, where the sentence names it.
        place: of the story, where the sentence names it.
        adjective: of a fact that names one; else "".
        praises: whether a fact speaks for the house.
        weight: how much the form says, 0.6 to 1.2; 1 where only the kind counts.
        point: two sentences with one point say the same in other words.
    """

    kind: str
    subject: str = ""
    adjective: str = ""
    praises: bool = False
    weight: float = 1.0
    point: str = ""
    trait: str = ""
    place: str = ""


def exact_facts(aspect: Aspect, adjective: str) -> dict[str, float]:
    """Statements that an aspect has a quality, with their weights."""
    phrase = aspect.phrase.format(adjective)
    return {
        form.format(noun=aspect.noun, verb=aspect.verb, adjective=adjective, phrase=phrase): weight
        for form, weight in EXACT_FACTS.items()
    }


def vague_facts(aspect: Aspect, *, praises: bool) -> dict[str, float]:
    """Statements that like or dislike an aspect without saying why, with their weights."""
    forms = PRAISE_FACTS if praises else BLAME_FACTS
    return {
        form.format(noun=aspect.noun, verb=aspect.verb): weight for form, weight in forms.items()
    }


def _facts() -> Iterator[tuple[str, Meaning]]:
    for aspect in ASPECTS:
        for adjective in aspect.praise + aspect.blame:
            praises = aspect.speaks_for(adjective)
            for text, weight in exact_facts(aspect, adjective).items():
                yield text, Meaning("fact", aspect.noun, adjective, praises, weight, aspect.noun)
        for praises in (True, False):
            for text, weight in vague_facts(aspect, praises=praises).items():
                yield text, Meaning("fact", aspect.noun, "", praises, weight, aspect.noun)


def _advice() -> Iterator[tuple[str, Meaning]]:
    for family in FAMILIES:
        for topic in family.topics:
            for kind, forms, weights in (
                ("tip", family.tips, TIP_WEIGHTS),
                ("mistake", family.mistakes, MISTAKE_WEIGHTS),
            ):
                for form, weight in zip(forms, weights, strict=True):
                    yield form.format(topic), Meaning(kind, topic, weight=weight, point=form)


def fill_slots(form: str, *, trait: str, hero: str, place: str) -> str:
    """A sentence of a story from its form; slots that the form lacks are left out."""
    return form.format(trait=trait, hero=hero, place=place)


def _stories() -> Iterator[tuple[str, Meaning]]:
    shelves = {"opening": OPENINGS, "scene": SCENES, "ending": ENDINGS, "cruelty": CRUELTIES}
    for kind, forms in shelves.items():
        for form, weight in forms.items():
            traits = TRAITS if "{trait}" in form else ("",)
            places = PLACES if "{place}" in form else ("",)
            for hero, trait, place in product(HEROES, traits, places):
                text = fill_slots(form, trait=trait, hero=hero, place=place)
                meaning = Meaning(kind, hero, weight=weight, point=form, trait=trait, place=place)
                yield text, meaning


def _phrases() -> Iterator[tuple[str, Meaning]]:
    kinds = {"polite": POLITE, "filler": FILLER, "rambling": RAMBLING, "rude": RUDE}
    for kind, texts in kinds.items():
        for text in texts:
            yield text, Meaning(kind, point=text)


@cache
def meanings() -> MappingProxyType[str, Meaning]:
    """Every sentence with its meaning; some six thousand."""
    found: dict[str, Meaning] = {}
    for source in (_facts, _advice, _stories, _phrases):
        found.update(source())
    return MappingProxyType(found)


def plain(sentence: str) -> str:
    """The sentence without its lead: "Also, the tea is hot." -> "The tea is hot."."""
    for lead in LEADS:
        if sentence.startswith(lead):
            rest = sentence[len(lead) :]
            # "Also, The tea" is broken: only the word I keeps its capital after a lead
            follows = rest[:1].islower() or rest.startswith("I ")
            return rest[:1].upper() + rest[1:] if follows else sentence
    return sentence


def with_lead(lead: str, sentence: str) -> str:
    """The sentence after a lead: the inverse of `plain`."""
    return lead + (sentence if sentence.startswith("I ") else sentence[:1].lower() + sentence[1:])


def understand(sentence: str) -> Meaning | None:
    """What a sentence says; None where it is broken.

    Only facts, tips and mistakes may have a lead.
    """
    bare = plain(sentence)
    meaning = meanings().get(bare)
    if meaning is None or (bare != sentence and meaning.kind not in {"fact", "tip", "mistake"}):
        return None
    return meaning
