"""What a run says about itself while it runs: alarms, once each, with the remedy.

Each rule looks at the lines of metrics.jsonl as they are written, and at nothing else, so a
resumed run reads the lines it has and goes on as if it had never stopped.
"""

import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from truing.training import folder

# Steps over which a rule forms its means; it says nothing before it has seen so many.
WINDOW = 20
# Standard errors by which two means must differ to be called different.
SURE = 3.0


@dataclass(frozen=True)
class Alarm:
    """Something is wrong with how the run goes, and what can be done."""

    step: int
    alarm: str
    what: str
    fix: str


Line = Mapping[str, Any]


class Rule(Protocol):
    """One thing to watch for; it sees every line once, in order."""

    @property
    def name(self) -> str:
        """What the alarm is called."""
        ...

    def look(self, line: Line) -> tuple[str, str] | None:
        """What is wrong and the remedy, or None."""
        ...


class _Series:
    """The last values of one metric, in two halves: before and now."""

    def __init__(self, size: int = WINDOW) -> None:
        self._size = size
        self._values: deque[float] = deque(maxlen=size)

    def add(self, value: Any) -> None:
        if isinstance(value, int | float) and math.isfinite(value):
            self._values.append(float(value))

    @property
    def is_full(self) -> bool:
        return len(self._values) == self._size

    @property
    def mean(self) -> float:
        return float(np.mean(self._values))

    @property
    def median(self) -> float:
        return float(np.median(self._values))

    @property
    def halves(self) -> tuple[float, float]:
        values = np.array(self._values)
        return float(values[: self._size // 2].mean()), float(values[self._size // 2 :].mean())

    @property
    def has_fallen(self) -> bool:
        """The second half lies below the first by more than chance."""
        before, now = np.split(np.array(self._values), 2)
        error = math.sqrt(before.var(ddof=1) / len(before) + now.var(ddof=1) / len(now))
        return bool(before.mean() - now.mean() > SURE * error)


class LikelihoodDisplacement:
    """The chosen responses lose probability while the rewards say that all goes well."""

    name = "likelihood_displacement"
    least_fall = 1.0  # nats a response; less is the noise of which rows a step holds

    def __init__(self) -> None:
        self._chosen, self._accuracy = _Series(), _Series()

    def look(self, line: Line) -> tuple[str, str] | None:
        """See `Rule`; log-probs themselves are read where there is no reference."""
        self._chosen.add(line.get("logps_drift/chosen", line.get("logps/chosen")))
        self._accuracy.add(line.get("rewards/accuracies"))
        if not (self._chosen.is_full and self._accuracy.is_full):
            return None
        before, now = self._chosen.halves
        was, is_now = self._accuracy.halves
        falls = self._chosen.has_fallen and before - now > self.least_fall
        if not falls or is_now <= 0.5 or is_now < was:
            return None
        return (
            f"the chosen responses lost {before - now:.1f} nats each in the last {WINDOW // 2} "
            f"steps, while reward accuracy went from {was:.2f} to {is_now:.2f}",
            "add 0.2*sft() to the objective, use dpop or minor_dpo, or lower learning_rate",
        )


class LengthExplainsReward:
    """Most of what tells chosen from rejected is how long they are."""

    name = "length_explains_reward"
    limit = 0.7  # of the correlation: half of the variance

    def __init__(self) -> None:
        self._correlation = _Series()

    def look(self, line: Line) -> tuple[str, str] | None:
        """See `Rule`."""
        self._correlation.add(line.get("rewards/length_correlation"))
        if not self._correlation.is_full or abs(self._correlation.mean) < self.limit:
            return None
        value = self._correlation.mean
        which = "longer" if value > 0 else "shorter"
        return (
            f"reward margins follow the difference of lengths (correlation {value:.2f} over the "
            f"last {WINDOW} steps): the {which} response is preferred for its length",
            "use sampo(...), averaged(...) or r_dpo(...), and look at the length bias of the data: "
            "truing inspect",
        )


@dataclass(frozen=True)
class KLPastLimit:
    """The policy has gone further from its reference than the run allows.

    Args:
        limit: nats a response, of responses that the policy gives to held-out prompts.
    """

    limit: float
    name: str = "kl_past_limit"

    def look(self, line: Line) -> tuple[str, str] | None:
        """See `Rule`."""
        value = line.get("eval/kl")
        if value is None or value <= self.limit:
            return None
        return (
            f"the KL to the reference is {value:.2f} nats a response, past checks.kl={self.limit}",
            "take an earlier checkpoint, hold the policy closer to its reference, or train less",
        )


class AccuracyAtChance:
    """A quarter of the run is over and chosen is told from rejected no better than by a coin."""

    name = "accuracy_at_chance"

    def __init__(self, num_steps: int) -> None:
        self._accuracy = _Series()
        self._from = max(2 * WINDOW, math.ceil(num_steps / 4))

    def look(self, line: Line) -> tuple[str, str] | None:
        """See `Rule`."""
        self._accuracy.add(line.get("rewards/accuracies"))
        if not self._accuracy.is_full or line["step"] < self._from:
            return None
        value = self._accuracy.mean
        if value > 0.55:
            return None
        return (
            f"reward accuracy is {value:.2f} over the last {WINDOW} steps, where a coin has 0.50",
            "raise learning_rate; if that does not help, look whether chosen and rejected are "
            "mixed up or contradict each other: truing inspect",
        )


class GradientSpike:
    """One step's gradient is many times what it was."""

    name = "gradient_spike"
    times = 10.0

    def __init__(self) -> None:
        self._norms = _Series()

    def look(self, line: Line) -> tuple[str, str] | None:
        """See `Rule`."""
        norm, has_seen = line.get("grad_norm"), self._norms.is_full
        usual = self._norms.median if has_seen else 0.0
        self._norms.add(norm)
        if norm is None or not has_seen or norm <= self.times * usual:
            return None
        return (
            f"the gradient's norm is {norm:.3g}, {norm / max(usual, 1e-12):.0f} times the median "
            f"of the {WINDOW} steps before",
            "look at the rows of this step; lower learning_rate or trainer.max_grad_norm",
        )


class Alarms:
    """Shows every line to every rule, writes what they say to alarms.jsonl, and says it.

    Args:
        run: the run folder.
        num_steps: optimizer steps of the whole run.
        kl_limit: nats a response; None: nobody asked.
        say: is told each alarm once, in a sentence.
    """

    def __init__(
        self, run: Path, num_steps: int, *, kl_limit: float | None, say: Callable[[str], None]
    ) -> None:
        rules: list[Rule] = [
            LikelihoodDisplacement(),
            LengthExplainsReward(),
            AccuracyAtChance(num_steps),
            GradientSpike(),
        ]
        if kl_limit is not None:
            rules.append(KLPastLimit(kl_limit))
        self._path, self._say = run / folder.ALARMS, say
        self._silent = {line["alarm"] for line in _lines(self._path)}
        self._rules = rules
        for line in _lines(run / folder.METRICS):
            for rule in rules:
                rule.look(line)

    def look(self, line: Line) -> None:
        """A line of metrics.jsonl was written."""
        for rule in self._rules:
            found = rule.look(line)
            if found is not None:
                self.ring(Alarm(line["step"], rule.name, *found))

    def ring(self, alarm: Alarm) -> None:
        """Write the alarm and say it, if it was not said before."""
        if alarm.alarm in self._silent:
            return
        self._silent.add(alarm.alarm)
        folder.append_line(self._path, asdict(alarm))
        self._say(f"alarm at step {alarm.step}: {alarm.what}; {alarm.fix}")


def _lines(path: Path) -> Iterable[Line]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
