"""The embedded models: where they lie, and how each was made.

`start` is what one trains. `stronger` is the start continued on cleaner text: a better model of
the same family and tokenizer. `foreign` is of another family, with another tokenizer: better than
the start on advice and stories, alike on notes.
"""

import json
from pathlib import Path
from typing import Any, Literal

from truing.errors import ConfigError

ModelName = Literal["start", "stronger", "foreign"]
MODELS: tuple[ModelName, ...] = ("start", "stronger", "foreign")
MAX_NEW_TOKENS = 384
"""A cap well above what the models say: few responses meet it."""


def model_folder(name: ModelName = "start") -> Path:
    """The folder of an embedded model: weights, tokenizer, manifest.

    Raises:
        ConfigError: no such model.
    """
    if name not in MODELS:
        raise ConfigError(
            f"no embedded model called {name!r}",
            where="world",
            fix=f"use one of {', '.join(MODELS)}",
        )
    return Path(__file__).parent / name


def manifest(name: ModelName = "start") -> dict[str, Any]:
    """How an embedded model was made: script, plan, data hash, losses, hashes, what it says."""
    return json.loads((model_folder(name) / "manifest.json").read_text(encoding="utf-8"))
