"""Writes the text that the embedded model learns to speak: responses of every quality and length.

One hidden quality q in [0, 1] runs through a whole response: it decides how much of it is useful,
and whether its facts agree with the notes, so that a reader (and a model) can tell after a sentence
or two what is to come. Quality and length are drawn apart.
"""

from dataclasses import dataclass, replace
from random import Random
from types import MappingProxyType

from truing.world.prompts import Prompt, Tale, aspect_of
from truing.world.sentences import LEADS, exact_facts, fill_slots, vague_facts, with_lead
from truing.world.tales import CRUELTIES, ENDINGS, HEROES, OPENINGS, SCENES
from truing.world.words import ASPECTS, FAMILIES, FILLER, POLITE, RAMBLING, RUDE


@dataclass(frozen=True)
class Style:
    """What kind of texts to write.

    Args:
        quality: the two shapes of the Beta distribution of q; None: q = 1, clean text.
        stray: how often an honest response errs, and a careless one is right by chance.
    """

    quality: tuple[float, float] | None = (1.2, 0.8)
    stray: tuple[float, float] = (0.02, 0.3)


CLEAN = Style(quality=None, stray=(0.0, 0.0))
CLEANER = Style(quality=(4.0, 0.8), stray=(0.01, 0.2))
MIXTURE = Style()
STYLES = MappingProxyType({"clean": CLEAN, "cleaner": CLEANER, "mixture": MIXTURE})

_LENGTHS = range(1, 15)
_LENGTH_WEIGHTS = (9, 13, 16, 15, 12, 9, 7, 5, 4, 3, 2, 2, 1.5, 1.5)
_STORY_LENGTHS = range(1, 16)
_STORY_LENGTH_WEIGHTS = (8, 13, 14, 13, 11, 9, 7, 5, 4, 3, 2.5, 2, 1.5, 1.5, 1)
_OPENS, _ENDS = 0.85, 0.6
"""How often a story begins and ends as stories do."""


class _Writer:
    """One response in the making."""

    def __init__(self, prompt: Prompt, random: Random, style: Style) -> None:
        self.prompt, self.random = prompt, random
        self.q = 1.0 if style.quality is None else random.betavariate(*style.quality)
        self.is_honest = random.random() < 0.45 + 0.55 * self.q
        self.error = style.stray[0] if self.is_honest else 1 - style.stray[1]
        self.untold = list(prompt.facts)
        random.shuffle(self.untold)
        self.said: list[str] = []

    def write(self) -> str:
        random = self.random
        length = random.choices(*self._lengths)[0]
        makers = (
            self._useful,
            self._astray,
            self._filler,
            self._rambling,
            self._rude,
            self._again,
        )
        bad = 1 - self.q
        weights = (
            0.45 + 0.4 * self.q,
            0.02 + 0.06 * bad,
            0.06,
            0.01 + 0.12 * bad,
            0.01 + 0.12 * bad,
            0.01 + 0.05 * bad,
        )
        if random.random() < 0.12:
            self.said.append(random.choice(FILLER + POLITE[3:5]))
        while len(self.said) < length:
            sentence = random.choices(makers, weights)[0]()
            if sentence is None:
                break
            self.said.append(sentence)
        self.said += self._closing()
        if random.random() < 0.1 + 0.1 * self.q:
            self.said.append(random.choice(POLITE))
        return " ".join(self.said)

    @property
    def _lengths(self) -> tuple[range, tuple[float, ...]]:
        return _LENGTHS, _LENGTH_WEIGHTS

    def _closing(self) -> list[str]:
        return []

    def _lead(self, sentence: str) -> str:
        if self.random.random() < 0.8:
            return sentence
        lead = self.random.choice(LEADS[1:] if self.said else LEADS[:1])
        return with_lead(lead, sentence)

    def _useful(self) -> str | None:
        return self._tip() if self.prompt.topic else self._fact()

    def _fact(self) -> str | None:
        """A fact about an aspect not yet told; when all are told, the end or something idle."""
        random = self.random
        if not self.untold:
            return None if random.random() < 0.5 else self._idle()
        noun, adjective = self.untold.pop()
        return self._lead(self._state(noun, adjective))

    def _state(self, noun: str, adjective: str) -> str:
        """A statement on an aspect, true to the adjective unless the response errs."""
        random, aspect = self.random, aspect_of(noun)
        praises = aspect.speaks_for(adjective)
        if random.random() < self.error:
            praises = not praises
            adjective = random.choice(aspect.praise if praises else aspect.blame)
        elif random.random() < 0.1:
            adjective = random.choice(aspect.praise if praises else aspect.blame)
        forms = vague_facts if random.random() < 0.2 else None
        told = forms(aspect, praises=praises) if forms else exact_facts(aspect, adjective)
        return random.choice(list(told))

    def _tip(self) -> str | None:
        random, family = self.random, self.prompt.family
        forms = family.mistakes if random.random() < self.error * 0.8 else family.tips
        untold = [
            text for text in (f.format(self.prompt.topic) for f in forms) if self._is_new(text)
        ]
        if not untold:
            return None if random.random() < 0.5 else self._idle()
        return self._lead(random.choice(untold))

    def _is_new(self, text: str) -> bool:
        return not any(said.lower().endswith(text.lower()) for said in self.said)

    def _astray(self) -> str:
        """A fact that the notes do not hold, or advice on something else."""
        random = self.random
        noted = {noun for noun, _ in self.prompt.facts}
        other = [aspect for aspect in ASPECTS if aspect.noun not in noted]
        if not self.prompt.topic and random.random() < 0.7:
            aspect = random.choice(other)
            adjective = random.choice(aspect.praise + aspect.blame)
            return self._lead(random.choice(list(exact_facts(aspect, adjective))))
        family = random.choice(FAMILIES)
        topics = [topic for topic in family.topics if topic != self.prompt.topic]
        return self._lead(random.choice(family.tips).format(random.choice(topics)))

    def _filler(self) -> str:
        return self.random.choice(FILLER)

    def _rambling(self) -> str:
        return self.random.choice(RAMBLING)

    def _rude(self) -> str:
        return self.random.choice(RUDE)

    def _idle(self) -> str:
        return self.random.choice((self._filler, self._rambling, self._again))()

    def _again(self) -> str:
        """Something that was said already; a filler where nothing was."""
        return self.random.choice(self.said) if self.said else self._filler()


class _StoryWriter(_Writer):
    """A story: an opening, scenes, an ending, and what a poor teller puts between."""

    def __init__(self, prompt: Prompt, tale: Tale, random: Random, style: Style) -> None:
        super().__init__(prompt, random, style)
        self.tale = tale
        self.scenes = random.sample(list(SCENES), len(SCENES))

    def write(self) -> str:
        if self.random.random() < _OPENS:
            self.said.append(self._told(self.random.choice(list(OPENINGS)), self.tale))
        return super().write()

    def _closing(self) -> list[str]:
        random = self.random
        is_told = random.random() < _ENDS
        return [self._told(random.choice(list(ENDINGS)), self.tale)] if is_told else []

    @property
    def _lengths(self) -> tuple[range, tuple[float, ...]]:
        return _STORY_LENGTHS, _STORY_LENGTH_WEIGHTS

    def _told(self, form: str, tale: Tale) -> str:
        return fill_slots(form, trait=tale.trait, hero=tale.hero, place=tale.place)

    def _useful(self) -> str | None:
        if self.random.random() < self.error * 0.8:
            return self._told(self.random.choice(list(CRUELTIES)), self.tale)
        return self._told(self.scenes.pop(), self.tale) if self.scenes else None

    def _astray(self) -> str:
        """A scene with another hero."""
        heroes = [hero for hero in HEROES if hero != self.tale.hero]
        other = replace(self.tale, hero=self.random.choice(heroes))
        return self._told(self.random.choice(list(SCENES)), other)


def write_response(prompt: Prompt, random: Random, style: Style = MIXTURE) -> str:
    """Write one response to a prompt: one to some fifteen sentences."""
    if prompt.tale is not None:
        return _StoryWriter(prompt, prompt.tale, random, style).write()
    return _Writer(prompt, random, style).write()
