"""The known score of the embedded world: what a response is worth, sentence by sentence.

    score = 4 * (sum of values + bonus for courtesy - price of saying nothing useful) / (n + 1)

n counts the sentences; the one courteous sentence that earns the bonus is not counted, so it never
lowers a good response and never carries a bad one. A mean with a mild reward for saying more than
one thing: repetition, endless lists and padding lose. About -6 to +4.5.
"""

import re
from dataclasses import dataclass
from types import MappingProxyType

from truing.world.prompts import Prompt, Tale, aspect_of, read_prompt
from truing.world.sentences import Meaning, plain, understand

SCALE = 4.0
COURTESY = 0.15
NOTHING_USEFUL = -0.6
USEFUL_AT_MOST = MappingProxyType({"notes": 4, "advice": 4, "story": 10})
"""From one more useful sentence on, a reader gains nothing."""

FIXED = MappingProxyType(
    {
        "polite": 0.0,
        "filler": 0.0,
        "rambling": -0.4,
        "rude": -1.2,
        "off topic": -0.6,
        "made up": -0.6,
        "misplaced": -0.4,
        "retold": -0.3,
        "repeated": -0.8,
        "surplus": 0.0,
        "broken": -1.5,
    }
)
"""Values that depend on the verdict alone; right and wrong statements carry their weights."""

SHARES = MappingProxyType(
    {
        "right": 1.0,
        "close": 0.5,
        "wrong": -1.0,
        "tip": 1.0,
        "mistake": -1.0,
        "scene": 1.0,
        "cruelty": -1.0,
    }
)
USEFUL = frozenset({"right", "close", "tip", "scene"})
EARNS_COURTESY = frozenset({"right", "tip", "scene"})
_STORY_PARTS = frozenset({"opening", "scene", "ending", "cruelty"})
_ENDS = re.compile(r"(?<=[.!?]) ")


@dataclass(frozen=True)
class Verdict:
    """What one sentence of a response is worth, and why.

    `kind` is a key of `FIXED` or of `SHARES`: facts are right (the adjective of the notes, or a
    liking that agrees with it), close (another adjective of the same direction), wrong, or made
    up (the notes do not speak of it). What belongs to the story is a scene, whether it opens, goes
    on or ends; misplaced is an opening that comes late, or what follows an ending.
    """

    sentence: str
    kind: str
    value: float


@dataclass(frozen=True)
class Assessment:
    """A response's score and the verdicts on its sentences, in order."""

    score: float
    verdicts: tuple[Verdict, ...]

    def count(self, *kinds: str) -> int:
        """How many sentences got one of these verdicts."""
        return sum(verdict.kind in kinds for verdict in self.verdicts)

    @property
    def is_accurate(self) -> bool:
        """Of notes, whether the response tells a right fact and nothing wrong or made up.

        The accuracy of the task that has a right answer; always false of the other prompts.
        """
        return self.count("right", "close") > 0 and self.count("wrong", "made up") == 0


def _judge_fact(meaning: Meaning, prompt: Prompt) -> str:
    noted = dict(prompt.facts).get(meaning.subject)
    if noted is None:
        return "made up"
    if aspect_of(meaning.subject).speaks_for(noted) != meaning.praises:
        return "wrong"
    return "right" if meaning.adjective in {noted, ""} else "close"


def _judge(meaning: Meaning, prompt: Prompt) -> str:
    if meaning.kind == "fact":
        return _judge_fact(meaning, prompt)
    if meaning.kind in {"tip", "mistake"}:
        return meaning.kind if meaning.subject == prompt.topic else "off topic"
    if meaning.kind in _STORY_PARTS:
        told = "cruelty" if meaning.kind == "cruelty" else "scene"
        return told if _belongs(meaning, prompt.tale) else "off topic"
    return meaning.kind


def _belongs(meaning: Meaning, tale: Tale | None) -> bool:
    return (
        tale is not None
        and meaning.subject == tale.hero
        and meaning.trait in {"", tale.trait}
        and meaning.place in {"", tale.place}
    )


def _value(kind: str, meaning: Meaning) -> float:
    return SHARES[kind] * meaning.weight if kind in SHARES else FIXED[kind]


class _Reader:
    """Reads the sentences of one response in order and remembers what was said."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.texts: set[str] = set()
        self.points: set[str] = set()
        self.useful = 0
        self.has_begun = self.has_ended = False

    def read(self, sentence: str) -> Verdict:
        meaning = understand(sentence)
        if meaning is None:
            return Verdict(sentence, "broken", FIXED["broken"])
        kind, text = _judge(meaning, self.prompt), plain(sentence)
        if text in self.texts:
            # a rude sentence said again is no better than the first time
            return Verdict(sentence, "repeated", min(_value(kind, meaning), FIXED["repeated"]))
        self.texts.add(text)
        kind = self._in_order(meaning.kind) if kind == "scene" else kind
        kind = self._with_memory(kind, meaning.point) if kind in USEFUL else kind
        return Verdict(sentence, kind, _value(kind, meaning))

    def _in_order(self, part: str) -> str:
        is_late = self.has_ended or (part == "opening" and self.has_begun)
        self.has_begun, self.has_ended = True, self.has_ended or part == "ending"
        return "misplaced" if is_late else "scene"

    def _with_memory(self, kind: str, point: str) -> str:
        if point in self.points:
            return "retold"
        self.points.add(point)
        self.useful += 1
        return kind if self.useful <= USEFUL_AT_MOST[self.prompt.kind] else "surplus"


def assess(prompt: Prompt | str, text: str, *, finished: bool) -> Assessment:
    """Score a response and say what each of its sentences is worth.

    Args:
        prompt: one of `prompts(...)`, or its text.
        text: the response without its end token; sentences are parted by one space.
        finished: whether the end token came; where not, the last sentence counts as broken.

    Raises:
        ConfigError: the text of the prompt is not of this world.
    """
    reader = _Reader(read_prompt(prompt) if isinstance(prompt, str) else prompt)
    sentences = _ENDS.split(text)
    verdicts = [reader.read(sentence) for sentence in sentences]
    if not finished:
        verdicts[-1] = Verdict(sentences[-1], "broken", FIXED["broken"])
    is_useful = any(v.kind in EARNS_COURTESY for v in verdicts)
    is_courteous = is_useful and any(v.kind == "polite" for v in verdicts)
    total = sum(v.value for v in verdicts)
    total += COURTESY if is_courteous else 0.0
    total += 0.0 if any(v.kind in USEFUL for v in verdicts) else NOTHING_USEFUL
    counted = len(verdicts) - is_courteous
    return Assessment(SCALE * total / (counted + 1), tuple(verdicts))


def score(prompt: Prompt | str, text: str, *, finished: bool) -> float:
    """What a response is worth, about -6 to +4; see the formula at the top of this file.

    Raises:
        ConfigError: the text of the prompt is not of this world.
    """
    return assess(prompt, text, finished=finished).score
