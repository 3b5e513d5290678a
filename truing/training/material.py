"""What a run trains on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from truing.references.join import Rows


@dataclass(frozen=True)
class Material:
    """What a run trains on.

    Args:
        rows: the training rows and what the references say of them.
        auxiliary: named sources that are drawn from in the same step.
        rows_per_step: rows of one optimizer step, and of each source.
        shuffle: whether each epoch has its own order.
        start_tolerance: mean absolute log-ratio (nats) allowed at step 0 when the reference is
            the start itself; None: no check.
        judged: references, by number, that are looked at before the first step: far ones are said.
        num_references: all of them.
    """

    rows: Rows
    auxiliary: Mapping[str, Rows]
    rows_per_step: int
    shuffle: bool
    start_tolerance: float | None
    judged: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    num_references: int = 1
