"""Requests spaced in time: so many a minute, later where the server asks to wait."""

import math
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONGEST_S = 60.0  # nobody waits longer than this for one request
_FIRST_S, _MOST_S = 0.5, 8.0  # pauses where the server names none


class Pace:
    """Lets requests go evenly, whoever sends them; safe in threads.

    Args:
        per_minute: requests at most, those that are tried again included.
    """

    def __init__(self, per_minute: int) -> None:
        self._pause_s, self._next = 60.0 / per_minute, 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the next request may go."""
        while True:
            with self._lock:
                now = time.monotonic()
                if now >= self._next:
                    self._next = now + self._pause_s
                    return
                at = self._next
            time.sleep(at - now)

    def put_off(self, seconds: float) -> None:
        """No request goes for so long: the server has asked for it."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def asked_pause(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait (`retry-after-ms`, `retry-after`); None where it does not.

    Source: RFC 9110, section 10.2.3 (seconds or a date).
    """
    seconds = math.nan
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        elif "retry-after" in headers:
            seconds = _seconds(headers["retry-after"])
    except (ValueError, TypeError):  # neither a number nor a date with its zone
        return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_S)


def own_pause(tries: int) -> float:
    """Seconds to wait after so many failed tries where the server names none; they double."""
    return min(_FIRST_S * 2 ** (tries - 1), _MOST_S)


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
