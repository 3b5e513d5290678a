"""A judge model behind an OpenAI-compatible server says which of two responses is better."""

import itertools
import math
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from truing.core.knobs import Count, NonNegative, Positive
from truing.errors import ConfigError
from truing.responses.groups import Group
from truing.responses.judge_server import Answered, JudgeServer
from truing.responses.scorers import OpenScorer, Scorer, Verdict

RUBRIC = (
    "You compare two responses to one prompt. Judge how well each does what the prompt asks: "
    "correct, helpful, clear. Length alone is no merit, nor is the order in which they stand. "
    "Say A if response A is better, B if response B is better, C if they are equally good. "
    "Your first word is that letter."
)


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _written_down(knob: str, what: str) -> ConfigError:
    """Without the knob's value, which would be shown."""
    return ConfigError(
        f"{what}, and a run writes its settings into files",
        where=f"judge({knob}=)",
        fix="put the key into an environment variable, and give key_variable its name",
    )


@dataclass(frozen=True, repr=False)
class Judge(Scorer):
    """Win rate of each response against the others of its prompt, by a model that is asked.

        score = mean over the other responses of (1 won, 1/2 tie, 0 lost)

    With both orders asked, a comparison is the mean of the two; one that misses a verdict in
    either order does not count. Verdicts are kept (in Truing's cache folder), so asking again
    costs nothing. The key is taken from the environment and written nowhere.

    Args:
        model: its name at the server.
        url: of the server; None: what the environment variable OPENAI_BASE_URL or the client says.
        rubric: what the judge is told; None: a short one of Truing's.
        orders: "both" asks each pair twice, sides changed; "one" costs half and keeps the judge's
            liking for a side.
        attempts: at a request that fails, or whose verdict cannot be read.
        timeout_s: seconds to wait for one response of the server.
        per_minute: requests at most, those that are tried again included.
        at_once: requests on their way together.
        max_tokens: that the judge may write.
        price_in: money per million tokens that the judge reads.
        price_out: money per million tokens that it writes.
        key_variable: environment variable that holds the key.

    Raises:
        ConfigError: a key stands where it would be written down with the run: in the place of the
            variable's name, or in the address.
    """

    word: ClassVar[str] = "judge"
    model: str
    url: str | None = None
    rubric: str | None = None
    orders: Literal["both", "one"] = "both"
    attempts: Count = 4
    timeout_s: Positive = 60.0
    per_minute: Count = 600
    at_once: Count = 4
    max_tokens: Count = 16
    price_in: NonNegative = 0.0
    price_out: NonNegative = 0.0
    key_variable: str = "OPENAI_API_KEY"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _VARIABLE.fullmatch(self.key_variable):
            raise _written_down("key_variable", "what it says is no name of a variable")
        if self.url is not None and "@" in urlsplit(self.url).netloc:
            raise _written_down("url", "it holds a password")

    def key(self) -> str:
        """See `Scorer`; what decides a verdict, the server too, and nothing of speed or price."""
        rubric = sha256((self.rubric or RUBRIC).encode()).hexdigest()[:16]
        server = self.url or os.environ.get("OPENAI_BASE_URL") or None
        return f"judge {self.model} {server} {rubric} {self.orders} {self.max_tokens}"

    def opened(self) -> OpenScorer:
        """See `Scorer`.

        Raises:
            ConfigError: the client is not installed, or no key is in the environment.
        """
        server = JudgeServer(
            model=self.model,
            url=self.url,
            key_variable=self.key_variable,
            attempts=self.attempts,
            timeout_s=self.timeout_s,
            per_minute=self.per_minute,
            max_tokens=self.max_tokens,
        )
        return _OpenJudge(self, server)


@dataclass(frozen=True)
class _Question:
    """One request: which responses of which group stand as A and B."""

    group: int
    first: int
    second: int


class _OpenJudge(OpenScorer):
    def __init__(self, value: Judge, server: JudgeServer) -> None:
        self._value, self._server = value, server

    def __call__(self, groups: Sequence[Group]) -> list[Verdict]:
        questions = [
            question
            for number, group in enumerate(groups)
            for question in self._questions(number, group)
        ]

        def ask(question: _Question) -> Answered:
            group = groups[question.group]
            a, b = (group.responses[i].text for i in (question.first, question.second))
            return self._server.ask(self._value.rubric or RUBRIC, _posed(group.prompt.text, a, b))

        with ThreadPoolExecutor(self._value.at_once) as pool:
            replies = list(pool.map(ask, questions))
        by_group: list[dict[tuple[int, int], Answered]] = [{} for _ in groups]
        for question, answered in zip(questions, replies, strict=True):
            by_group[question.group][question.first, question.second] = answered
        return [_verdict(group, told) for group, told in zip(groups, by_group, strict=True)]

    def _questions(self, number: int, group: Group) -> list[_Question]:
        pairs = [
            (i, j)
            for i, j in itertools.combinations(range(len(group.responses)), 2)
            if group.responses[i].text != group.responses[j].text
        ]
        turned = [(j, i) for i, j in pairs] if self._value.orders == "both" else []
        return [_Question(number, i, j) for i, j in (*pairs, *turned)]

    def cost(self) -> dict[str, float]:
        spent = self._server.spent
        money = (
            spent.tokens_in * self._value.price_in + spent.tokens_out * self._value.price_out
        ) / 1e6
        return {**spent.to_json(), **({"money": money} if money else {})}


def _posed(prompt: str, a: str, b: str) -> str:
    return (
        f"<prompt>\n{prompt}\n</prompt>\n\n<response_a>\n{a}\n</response_a>\n\n"
        f"<response_b>\n{b}\n</response_b>\n\nWhich is better: A, B or C (equal)?"
    )


def _verdict(group: Group, told: dict[tuple[int, int], Answered]) -> Verdict:
    """Win rates from what was said about the pairs; equal texts tie without being asked about."""
    width = len(group.responses)
    won: list[list[float]] = [[] for _ in range(width)]
    for i, j in itertools.combinations(range(width), 2):
        shares = []
        if (i, j) in told:
            shares.append(told[i, j].share)
        if (j, i) in told:
            shares.append(1 - told[j, i].share)
        share = sum(shares) / len(shares) if shares else 0.5
        if not math.isnan(share):
            won[i].append(share)
            won[j].append(1 - share)
    scores = [sum(shares) / len(shares) if shares else math.nan for shares in won]
    faults = list(dict.fromkeys(answered.fault for answered in told.values() if answered.fault))
    if width == 1:
        faults.append("it stands alone: there is nothing to compare it with")
    return Verdict.of(scores, faults, [bool(faults)] * width)
