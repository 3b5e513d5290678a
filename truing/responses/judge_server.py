"""Requests to a judge model: paced, tried again, counted, and never asked twice for the same."""

import math
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from truing.errors import ConfigError, StoppedError
from truing.responses.judge_cache import JudgeCache
from truing.responses.pace import Pace, asked_pause, own_pause

_LETTER = re.compile(r"^[\s*_#\"'(\[]*(?:response\s+)?(A|B|C)\b", re.IGNORECASE)
_SHARES = {"A": 1.0, "B": 0.0, "C": 0.5}
# So many requests in a row that the server did not meet: it is away, not slow.
_GIVE_UP_AFTER = 8
_TRIED_AGAIN = {408, 409, 429}  # and every error of the server, from 500 on
_SHORTEST_KEY = 8  # a word for a server that asks for no key is no secret


@dataclass(frozen=True)
class Answered:
    """What became of one question: the share that A won, or why there is none (NaN)."""

    share: float
    fault: str = ""


@dataclass
class Spent:
    """What a judge has cost so far."""

    calls: int = 0
    cached: int = 0
    unreadable: int = 0
    refused: int = 0
    failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def to_json(self) -> dict[str, float]:
        """By name."""
        return asdict(self)


class JudgeServer:
    """An OpenAI-compatible server that is asked for one letter at a time; safe in threads.

    Raises:
        ConfigError: the client is not installed, or no key is in the environment.
    """

    def __init__(
        self,
        *,
        model: str,
        url: str | None,
        key_variable: str,
        attempts: int,
        timeout_s: float,
        per_minute: int,
        max_tokens: int,
    ) -> None:
        try:
            import openai
        except ImportError as error:
            raise ConfigError(
                "the client of OpenAI-compatible servers is not installed",
                where="judge()",
                fix='pip install "truing[judge]"',
            ) from error
        key = os.environ.get(key_variable)
        if not key:
            raise ConfigError(
                f"the environment variable {key_variable} is not set",
                where="judge()",
                fix=f"export {key_variable}=... (any word for a server that asks for none)",
            )
        self._openai = openai
        # What is tried again is tried again here: the client's own tries would not be paced.
        self._client = openai.OpenAI(api_key=key, base_url=url, timeout=timeout_s, max_retries=0)
        self._model, self._attempts, self._max_tokens = model, attempts, max_tokens
        self._key = key if len(key) >= _SHORTEST_KEY else ""
        self._cache = JudgeCache()
        self._pace = Pace(per_minute)
        self._lock = threading.Lock()
        self._unmet = 0
        self.spent = Spent()

    def ask(self, rubric: str, question: str) -> Answered:
        """One verdict.

        Raises:
            ConfigError: the server refuses the key, the model's name or the request.
            StoppedError: the server has not been met many times in a row.
        """
        parts = (str(self._client.base_url), self._model, self._max_tokens, rubric, question)
        key = sha256(repr(parts).encode()).hexdigest()
        kept = self._cache.get(key)
        if kept is not None:
            self._count(cached=1)
            return Answered(_SHARES[kept])
        fault = ""
        for _ in range(self._attempts):
            letter, fault, is_final = self._once(rubric, question)
            if letter:
                self._cache.put(key, letter)
                return Answered(_SHARES[letter])
            if is_final:
                break
        return Answered(math.nan, fault)

    def _once(self, rubric: str, question: str) -> tuple[str, str, bool]:
        """Letter, fault, and whether there is no use in asking again."""
        try:
            reply = self._met(lambda: self._request(rubric, question))
        except (self._openai.APIConnectionError, self._openai.APIStatusError) as error:
            return "", self._not_met(error), True
        with self._lock:
            self._unmet = 0
        usage = getattr(reply, "usage", None)
        self._count(
            calls=1,
            tokens_in=getattr(usage, "prompt_tokens", 0) or 0,
            tokens_out=getattr(usage, "completion_tokens", 0) or 0,
        )
        return self._read(reply)

    def _met(self, request: Callable[[], Any]) -> Any:
        """What the server says, tried again after timeouts, lost connections, 429 and its errors.

        Every try is paced; where the server asks to wait, all requests wait.
        """
        for tries in range(1, self._attempts + 1):
            self._pace.wait()
            try:
                return request()
            except self._openai.APIConnectionError:  # a timeout is one of these
                if tries == self._attempts:
                    raise
                time.sleep(own_pause(tries))
            except self._openai.APIStatusError as error:
                self._refuse_settings(error)
                is_passing = error.status_code in _TRIED_AGAIN or error.status_code >= 500
                if tries == self._attempts or not is_passing:
                    raise
                pause = asked_pause(error.response.headers)
                if pause is None:
                    time.sleep(own_pause(tries))
                else:
                    self._pace.put_off(pause)
        raise AssertionError("the last try returns or raises")

    def _request(self, rubric: str, question: str) -> Any:
        return self._client.chat.completions.create(
            model=self._model,
            messages=[
                {"role": "system", "content": rubric},
                {"role": "user", "content": question},
            ],
            temperature=0.0,
            max_tokens=self._max_tokens,
        )

    def _read(self, reply: Any) -> tuple[str, str, bool]:
        choices = getattr(reply, "choices", None) or []
        message = choices[0].message if choices else None
        text = getattr(message, "content", None) or ""
        is_refused = bool(getattr(message, "refusal", None)) or (
            bool(choices) and choices[0].finish_reason == "content_filter"
        )
        if is_refused:
            self._count(refused=1)
            return "", "the judge refuses to compare", True
        found = _LETTER.match(text)
        if found:
            return found[1].upper(), "", False
        self._count(unreadable=1)
        return "", f"the judge's verdict cannot be read: {self._masked(text)[:60]!r}", False

    def _refuse_settings(self, error: Any) -> None:
        """What no second try mends is the user's to mend."""
        if error.status_code in {400, 401, 403, 404, 422}:
            # Not `from error`: its own words, which a trace would show, may hold the key.
            raise ConfigError(
                f"the server refuses the request with {error.status_code} "
                f"({self._masked(str(error.message))[:160]})",
                where=f"judge(model={self._model!r})",
                fix="check the key in the environment, the model's name and the url",
            ) from None

    def _not_met(self, error: Any) -> str:
        with self._lock:
            self._unmet += 1
            self.spent.failed += 1
            if self._unmet >= _GIVE_UP_AFTER:
                raise StoppedError(
                    f"the judge's server fails again and again ({self._words(error)})",
                    where=str(self._client.base_url),
                    fix="repeat the command when it is there again; nothing that was said is lost",
                ) from None
        return f"the judge's server failed: {self._words(error)}"

    def _words(self, error: Any) -> str:
        status = getattr(error, "status_code", None)
        told = self._masked(str(error)).rstrip(".").lower()
        return f"status {status}" if status else told[:120]

    def _masked(self, text: str) -> str:
        """A text of the server's without the key, which some servers repeat."""
        return text.replace(self._key, "***") if self._key else text

    def _count(self, **more: int) -> None:
        with self._lock:
            for name, value in more.items():
                setattr(self.spent, name, getattr(self.spent, name) + value)
