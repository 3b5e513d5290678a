"""How far long work has come, told to whoever listens; the library itself never prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Shows work as it goes. The command line has one that draws bars."""

    def track(self, items: Iterable[T], *, total: int | None, description: str) -> Iterator[T]:
        """Yield the items one by one, showing how many of `total` are done."""
        ...


class Silent:
    """Shows nothing."""

    def track(
        self,
        items: Iterable[T],
        *,
        total: int | None,
        description: str,
    ) -> Iterator[T]:
        """Yield the items as they are."""
        yield from items


SILENT = Silent()
