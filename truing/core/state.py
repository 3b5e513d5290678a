"""Running scalars of an objective (moving averages): a value goes in, a value comes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class State(Mapping[str, float]):
    """Named scalars, immutable; what is not there yet has not been seen.

    The trainer keeps it, hands it to the objective with each view, takes the new one from the
    terms, and writes it into the checkpoint.
    """

    values_by_name: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def __getitem__(self, name: str) -> float:
        return self.values_by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)

    def replace(self, **changes: float) -> State:
        """A new state in which these scalars have these values."""
        return State(MappingProxyType({**self.values_by_name, **changes}))

    def taking(self, names: Iterable[str], other: State) -> State:
        """A new state in which these scalars, as far as the other has them, are the other's."""
        return self.replace(**{name: other[name] for name in names if name in other})
