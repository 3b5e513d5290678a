"""Truing: preference fine-tuning that keeps reward, length and reference straight."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from truing import recipes
    from truing.errors import TruingError
    from truing.jobs.check import check
    from truing.jobs.compare import compare
    from truing.jobs.evaluate import evaluate
    from truing.jobs.export import export
    from truing.jobs.generate import generate
    from truing.jobs.pairs import build_pairs
    from truing.jobs.sft import sft
    from truing.jobs.sweep import sweep
    from truing.jobs.train import train

__all__ = [
    "TruingError",
    "__version__",
    "build_pairs",
    "check",
    "compare",
    "evaluate",
    "export",
    "generate",
    "recipes",
    "sft",
    "sweep",
    "train",
]

_HOMES = {
    "TruingError": ("truing.errors", "TruingError"),
    "build_pairs": ("truing.jobs.pairs", "build_pairs"),
    "compare": ("truing.jobs.compare", "compare"),
    "check": ("truing.jobs.check", "check"),
    "evaluate": ("truing.jobs.evaluate", "evaluate"),
    "export": ("truing.jobs.export", "export"),
    "generate": ("truing.jobs.generate", "generate"),
    "recipes": ("truing.recipes", None),
    "sft": ("truing.jobs.sft", "sft"),
    "sweep": ("truing.jobs.sweep", "sweep"),
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
