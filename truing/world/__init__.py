"""The embedded world: small language models, prompts, and a score that is known to be true.

`model_folder()` is loaded by `AutoModelForCausalLM` and `AutoTokenizer`; `prompts("train")` and
`prompts("test")` are what to ask it; `score(prompt, text, finished=True)` is what its response is
worth, and `assess` says why. `python -m truing.world.build` trains the models anew.

Nothing of weight is imported here: prompts and scores are plain Python.
"""

from truing.world.models import MAX_NEW_TOKENS, MODELS, ModelName, manifest, model_folder
from truing.world.prompts import KINDS, SHORT, Kind, Prompt, Split, Tale, prompts, read_prompt
from truing.world.scoring import Assessment, Verdict, assess, score

__all__ = [
    "KINDS",
    "MAX_NEW_TOKENS",
    "MODELS",
    "SHORT",
    "Assessment",
    "Kind",
    "ModelName",
    "Prompt",
    "Split",
    "Tale",
    "Verdict",
    "assess",
    "manifest",
    "model_folder",
    "prompts",
    "read_prompt",
    "score",
]
