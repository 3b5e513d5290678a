"""Truing: preference fine-tuning that keeps reward, length and reference straight."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from truing import recipes
    from truing.errors import TruingError
    from truing.jobs.compare import compare
    from truing.jobs.evaluate import evaluate
    from truing.jobs.pairs import build_pairs
    from truing.jobs.train import train

__all__ = ["TruingError", "__version__", "build_pairs", "compare", "evaluate", "recipes", "train"]

_HOMES = {
    "TruingError": ("truing.errors", "TruingError"),
    "build_pairs": ("truing.jobs.pairs", "build_pairs"),
    "compare": ("truing.jobs.compare", "compare"),
    "evaluate": ("truing.jobs.evaluate", "evaluate"),
    "recipes": ("truing.recipes", None),
    "train": ("truing.jobs.train", "train"),
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562), so that `import truing` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    loaded = import_module(module)
    return loaded if attribute is None else getattr(loaded, attribute)


def __dir__() -> list[str]:
    """The public names, lazy ones included."""
    return sorted(__all__)
