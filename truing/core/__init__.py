"""The shared nouns of the house: views, needs, state. Torch only, and loaded on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from truing.core.needs import Needs
    from truing.core.sides import Sides
    from truing.core.state import State
    from truing.core.view import BatchContext, Counts, View

__all__ = ["BatchContext", "Counts", "Needs", "Sides", "State", "View"]

_HOMES = {
    "BatchContext": "view",
    "Counts": "view",
    "Needs": "needs",
    "Sides": "sides",
    "State": "state",
    "View": "view",
}


def __getattr__(name: str) -> Any:
    """Load a noun on first use: reading needs or an expression must not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"truing.core.{_HOMES[name]}"), name)
