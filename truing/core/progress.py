"""How far long work has come, told to whoever listens; the library itself never prints."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

T = TypeVar("T")


class Task(Protocol):
    """One piece of long work."""

    def advance(self, done: int = 1, *, note: str = "") -> None:
        """So much more is done; `note` says in a few words how it goes."""
        ...


class Progress(Protocol):
    """Shows work as it goes. The command line has one that draws bars."""

    def task(self, *, total: int | None, description: str) -> AbstractContextManager[Task]:
        """Begin a piece of work of `total` units (None: not known); it ends with the block."""
        ...

    def track(self, items: Iterable[T], *, total: int | None, description: str) -> Iterator[T]:
        """Yield the items one by one, showing how many of `total` are done."""
        ...

    def note(self, text: str) -> None:
        """Say what was decided or left out, in a sentence, when it is known."""
        ...


class _SilentTask:
    def advance(self, done: int = 1, *, note: str = "") -> None:
        """Show nothing."""


class Silent:
    """Shows nothing."""

    def task(
        self,
        *,
        total: int | None,
        description: str,
    ) -> AbstractContextManager[Task]:
        """A task that nobody sees."""
        return nullcontext(_SilentTask())

    def track(
        self,
        items: Iterable[T],
        *,
        total: int | None,
        description: str,
    ) -> Iterator[T]:
        """Yield the items as they are."""
        yield from items

    def note(self, text: str) -> None:
        """Say nothing."""


SILENT = Silent()


class Within:
    """Progress for a part of some longer work: what its tasks advance, the whole advances."""

    def __init__(self, whole: Task) -> None:
        self._whole = whole

    def task(
        self,
        *,
        total: int | None,
        description: str,
    ) -> AbstractContextManager[Task]:
        """The whole task, which goes on after the block."""
        return nullcontext(self._whole)

    def track(
        self,
        items: Iterable[T],
        *,
        total: int | None,
        description: str,
    ) -> Iterator[T]:
        """Yield the items, each a unit of the whole."""
        for item in items:
            yield item
            self._whole.advance()

    def note(self, text: str) -> None:
        """Say nothing: a part of the work has no line of its own."""
