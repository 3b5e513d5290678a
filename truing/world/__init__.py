"""The embedded world: a small language model, its prompts, and a score that is known to be true.

`model_folder()` is loaded by `AutoModelForCausalLM` and `AutoTokenizer`; `prompts("train")` and
`prompts("test")` are what to ask it; `score(prompt, text, finished=True)` is what its response is
worth, and `assess` says why. `python -m truing.world.build --output DIR` trains it anew.

Nothing of weight is imported here: prompts and scores are plain Python.
"""

import json
from pathlib import Path
from typing import Any

from truing.world.prompts import Prompt, Split, prompts, read_prompt
from truing.world.scoring import Assessment, Verdict, assess, score

__all__ = [
    "Assessment",
    "Prompt",
    "Split",
    "Verdict",
    "assess",
    "manifest",
    "model_folder",
    "prompts",
    "read_prompt",
    "score",
]


def model_folder() -> Path:
    """The folder of the embedded model: weights, tokenizer, manifest."""
    return Path(__file__).parent / "start"


def manifest() -> dict[str, Any]:
    """How the embedded model was made: script, plan, data hash, losses, hashes, what it says."""
    return json.loads((model_folder() / "manifest.json").read_text(encoding="utf-8"))
