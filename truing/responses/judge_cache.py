"""Verdicts that a judge has given, kept by what was asked."""

import sqlite3
import threading

from truing.data.cache import cache_folder


class JudgeCache:
    """One table in one file, shared by processes and threads.

    A folder that cannot be written to is no fault: verdicts are then kept for this process alone.
    """

    def __init__(self) -> None:
        path = cache_folder() / "judge.sqlite"
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._table = self._opened(str(path))
        except (OSError, sqlite3.Error):
            self._table = self._opened(":memory:")

    @staticmethod
    def _opened(place: str) -> sqlite3.Connection:
        table = sqlite3.connect(place, timeout=30, check_same_thread=False, isolation_level=None)
        table.execute("CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, letter TEXT)")
        return table

    def get(self, key: str) -> str | None:
        """A letter, or None where it was never given."""
        with self._lock:
            row = self._table.execute(
                "SELECT letter FROM verdicts WHERE key = ?", (key,)
            ).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, letter: str) -> None:
        """Keep it; on disk when this returns."""
        with self._lock:
            self._table.execute("INSERT OR REPLACE INTO verdicts VALUES (?, ?)", (key, letter))

    def close(self) -> None:
        """Give the file back."""
        self._table.close()
