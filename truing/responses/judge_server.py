"""Requests to a judge model: paced, tried again, counted, and never asked twice for the same."""

import math
import os
import re
import threading
import time
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from truing.errors import ConfigError, StoppedError
from truing.responses.judge_cache import JudgeCache

_LETTER = re.compile(r"^[\s*_#\"'(\[]*(?:response\s+)?(A|B|C)\b", re.IGNORECASE)
_SHARES = {"A": 1.0, "B": 0.0, "C": 0.5}
# So many requests in a row that the server did not meet: it is away, not slow.
_GIVE_UP_AFTER = 8


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
        # The client tries again after timeouts, lost connections, 429 (as long as the server
        # asks to wait) and errors of the server.
        self._client = openai.OpenAI(
            api_key=key, base_url=url, timeout=timeout_s, max_retries=attempts - 1
        )
        self._model, self._attempts, self._max_tokens = model, attempts, max_tokens
        self._cache = JudgeCache()
        self._pause_s, self._next = 60.0 / per_minute, 0.0
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
        self._wait()
        try:
            reply = self._request(rubric, question)
        except (self._openai.APITimeoutError, self._openai.APIConnectionError) as error:
            return "", self._not_met(error), True
        except self._openai.APIStatusError as error:
            self._refuse_settings(error)
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
        return "", f"the judge's verdict cannot be read: {text[:60]!r}", False

    def _refuse_settings(self, error: Any) -> None:
        """What no second try mends is the user's to mend."""
        if error.status_code in {400, 401, 403, 404, 422}:
            raise ConfigError(
                f"the server refuses the request with {error.status_code} "
                f"({str(error.message)[:160]})",
                where=f"judge(model={self._model!r})",
                fix="check the key in the environment, the model's name and the url",
            ) from error

    def _not_met(self, error: Any) -> str:
        with self._lock:
            self._unmet += 1
            self.spent.failed += 1
            if self._unmet >= _GIVE_UP_AFTER:
                raise StoppedError(
                    f"the judge's server fails again and again ({_words(error)})",
                    where=str(self._client.base_url),
                    fix="repeat the command when it is there again; nothing that was said is lost",
                ) from error
        return f"the judge's server failed: {_words(error)}"

    def _wait(self) -> None:
        """Space the requests evenly."""
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next)
            self._next = at + self._pause_s
        time.sleep(at - now)

    def _count(self, **more: int) -> None:
        with self._lock:
            for name, value in more.items():
                setattr(self.spent, name, getattr(self.spent, name) + value)


def _words(error: Any) -> str:
    status = getattr(error, "status_code", None)
    return f"status {status}" if status else str(error).rstrip(".").lower()[:120]
