"""The shared nouns of the house: views, needs, state. Torch only."""

from truing.core.needs import Needs
from truing.core.state import State
from truing.core.view import BatchContext, Counts, View

__all__ = ["BatchContext", "Counts", "Needs", "State", "View"]
