"""The few numbers that say whether a run was worth it, each with its interval and its start."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from truing.report.collect import Curves
from truing.report.numbers import number, percent, signed


@dataclass(frozen=True)
class Measure:
    """A number of the evaluation that gets a card.

    Args:
        key: in evaluation.json; the interval stands at `key_low` and `key_high`, the start's
            value at `before` (default `key_before`), the difference at `gain`.
        title: what it is.
        words: how to read it.
        unit: after the number, if any.
        is_share: written as a percentage, drawn between 0 and 1.
        level: what it is measured by; None: by the start.
        is_gain: more of it is better; else neither better nor worse.
    """

    key: str
    title: str
    words: str
    unit: str = ""
    is_share: bool = False
    level: float | None = None
    is_gain: bool = False
    before: str = ""
    gain: str = ""

    def say(self, value: float) -> str:
        """The value as it is written on the card."""
        return percent(value) if self.is_share else number(value)


MEASURES = (
    Measure(
        "win_rate",
        "Win rate against the start",
        "How often the trained policy's response scores higher than the start's to the same "
        "prompt; a tie counts one half.",
        is_share=True,
        level=0.5,
        is_gain=True,
    ),
    Measure(
        "score",
        "Score of its responses",
        "Mean score on held-out prompts.",
        is_gain=True,
        gain="score_gain",
    ),
    Measure(
        "nll",
        "Loss on held-out texts",
        "Negative log-likelihood of texts that it has not seen, before and after training.",
        unit="nats a token",
        gain="nll_change",
    ),
    Measure(
        "policy_accuracy",
        "Policy accuracy",
        "Held-out pairs whose chosen response the policy itself finds likelier, without reference.",
        is_share=True,
        level=0.5,
        is_gain=True,
        before="reference_accuracy",
    ),
    Measure(
        "reward_accuracy",
        "Reward accuracy",
        "Held-out pairs whose chosen response has the higher reward.",
        is_share=True,
        level=0.5,
        is_gain=True,
    ),
    Measure(
        "margin",
        "Reward margin",
        "Chosen minus rejected on held-out pairs, in scaled nats.",
        level=0.0,
        is_gain=True,
    ),
    Measure(
        "kl",
        "Distance from the reference",
        "KL divergence on the policy's own responses: what the gain was paid with.",
        unit="nats a response",
        level=0.0,
    ),
    Measure(
        "length",
        "Length of its responses",
        "Mean length on held-out prompts. A score that rises with length alone is no gain.",
        unit="tokens",
        gain="length_gain",
    ),
    Measure(
        "displaced",
        "Chosen, yet less likely than before",
        "Share of held-out pairs whose chosen response lost probability to training.",
        is_share=True,
    ),
    Measure(
        "cut",
        "Responses that ran into the limit",
        "Share of responses that were cut before they ended.",
        is_share=True,
    ),
)

_CURVE_MEASURES = (
    ("loss", Measure("loss", "Training loss", "First and last steps.", unit="nats")),
    ("rewards/margins", Measure("margin", "Reward margin", "On training pairs, in scaled nats.")),
    (
        "rewards/accuracies",
        Measure("accuracy", "Reward accuracy", "On training pairs.", is_share=True, level=0.5),
    ),
)


@dataclass(frozen=True)
class Dot:
    """A value with its interval on the card's scale, as percentages from the left."""

    role: str
    at: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Card:
    """One number, ready to be printed.

    `verdict` is "good", "bad" or "" and never the only carrier of what `finding` says in words.
    """

    title: str
    value: str
    unit: str
    interval: str
    before: str
    finding: str
    verdict: str
    words: str
    dots: tuple[Dot, ...]
    level: float | None
    ends: tuple[str, str]


def cards(evaluation: Mapping[str, Any]) -> tuple[Card, ...]:
    """The measures that this evaluation holds, in the order of the table.

    Any other number that has a `NAME_before` gets a plain card after them.
    """
    known = {measure.key for measure in MEASURES}
    others = [key.removesuffix("_before") for key in evaluation if key.endswith("_before")]
    measures = [
        *MEASURES,
        *(
            Measure(key, key.replace("_", " ").capitalize(), "Before and after training.")
            for key in others
            if key not in known
        ),
    ]
    return tuple(
        _card(measure, evaluation) for measure in measures if _get(evaluation, measure.key)
    )


def curve_cards(training: Curves) -> tuple[Card, ...]:
    """Beginning and end of the training curves, for a run without held-out rows.

    Each is a mean over the first and the last tenth of the steps, at most 20.
    """
    few = max(1, min(20, len(training) // 10))
    found: list[Card] = []
    for name, measure in _CURVE_MEASURES:
        column = training.values.get(name)
        if column is None:
            continue
        ends = [_mean(column[:few].tolist()), _mean(column[-few:].tolist())]
        if None not in ends:
            table = {f"{measure.key}_before": ends[0], measure.key: ends[1]}
            found.append(_card(measure, table))
    return tuple(found)


def flattened(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """One level: the keys of inner objects stand beside the others, which go first."""
    found = {key: value for key, value in evaluation.items() if not isinstance(value, Mapping)}
    for value in evaluation.values():
        if isinstance(value, Mapping):
            for key, inner in value.items():
                found.setdefault(key, inner)
    return found


@dataclass(frozen=True)
class Value:
    """A number with its interval; the interval may be unknown."""

    value: float
    low: float | None
    high: float | None

    @property
    def ends(self) -> tuple[float, float] | None:
        """The interval, where it is known."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def known(self) -> list[float]:
        """The value and the ends of its interval, as far as there are any."""
        return [self.value, *(self.ends or ())]


def _get(table: Mapping[str, Any], key: str) -> Value | None:
    numbers = [_finite(table.get(name)) for name in (key, f"{key}_low", f"{key}_high")]
    return None if numbers[0] is None else Value(numbers[0], numbers[1], numbers[2])


def _card(measure: Measure, table: Mapping[str, Any]) -> Card:
    value = _get(table, measure.key)
    assert value is not None
    before = _get(table, f"{measure.key}_before")
    if before is None and measure.before:
        before = _get(table, measure.before)
    gain = _get(table, measure.gain) if measure.gain else None
    finding, verdict = _finding(measure, value, before, gain)
    place = _scale(measure, value, before)
    dots = [("before", before)] if before else []
    return Card(
        title=measure.title,
        value=measure.say(value.value),
        unit=measure.unit,
        interval=_interval(measure, value),
        before="" if before is None else measure.say(before.value),
        finding=finding,
        verdict=verdict,
        words=measure.words,
        dots=tuple(
            Dot(role, place(one.value), *map(place, one.ends or ()))
            for role, one in [*dots, ("after", value)]
        ),
        level=None if measure.level is None else place(measure.level),
        ends=(measure.say(place.low), measure.say(place.high)),
    )


def _interval(measure: Measure, value: Value) -> str:
    return "" if value.ends is None else "{} to {}".format(*map(measure.say, value.ends))


def _finding(
    measure: Measure, value: Value, before: Value | None, gain: Value | None
) -> tuple[str, str]:
    """What is known against the start, or else against the level: in words, and its verdict."""
    if gain is not None:
        bounds = "" if gain.ends is None else " ({} to {})".format(*map(signed, gain.ends))
        return f"{signed(gain.value)} against the start{bounds}", _verdict(measure, gain, (0, 0))
    if before is not None:
        change = value.value - before.value
        words = f"{signed(100 * change)} points" if measure.is_share else signed(change)
        # Two intervals that do not meet: stricter than the interval of the difference would be.
        return f"{words} against the start", _verdict(measure, value, before.ends)
    if measure.level is None or not measure.is_gain or value.ends is None:
        return "", ""
    level = measure.say(measure.level)
    verdict = _verdict(measure, value, (measure.level, measure.level))
    words = {"good": f"above {level}", "bad": f"below {level}"}
    return words.get(verdict, f"not told apart from {level}"), verdict


def _verdict(measure: Measure, value: Value, other: tuple[float, float] | None) -> str:
    """Good or bad, where the value's interval lies wholly beside the other one."""
    if not measure.is_gain or value.ends is None or other is None:
        return ""
    low, high = value.ends
    return "good" if low > other[1] else "bad" if high < other[0] else ""


# ------------------------------------------------------------------ the strip under a number


@dataclass(frozen=True)
class _Place:
    """Where on the strip a value stands, in percent."""

    low: float
    high: float

    def __call__(self, value: float) -> float:
        return round(100 * (value - self.low) / (self.high - self.low), 2)


def _scale(measure: Measure, value: Value, before: Value | None) -> _Place:
    """All of the shares from 0 to 1; for the rest what is there, with some air."""
    if measure.is_share:
        return _Place(0.0, 1.0)
    there = [*value.known, *(before.known if before else [])]
    there += [] if measure.level is None else [measure.level]
    low, high = min(there), max(there)
    air = 0.08 * (high - low) or max(abs(high), 1.0) * 0.5
    return _Place(low - (0.0 if low == measure.level else air), high + air)


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _mean(values: list[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else None
