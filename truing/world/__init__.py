"""The embedded world: small language models, prompts, and a score that is known to be true.

`model_folder()` is loaded by `AutoModelForCausalLM` and `AutoTokenizer`; `prompts("train")` and
`prompts("test")` are what to ask it; `score(prompt, text, finished=True)` is what its response is
worth, and `assess` says why. `pairs("train", length_bias=0.5)` are preferences between the start's
own responses. `python -m truing.world.build` trains the models anew.

Nothing of weight is imported here: prompts, scores and pairs are plain Python and numpy.
"""

from truing.world.labels import Labeller
from truing.world.models import MAX_NEW_TOKENS, MODELS, ModelName, manifest, model_folder
from truing.world.pairs import Pair, PairFacts, describe_pairs, pairs, write_rows
from truing.world.pool import Candidate, Group, groups
from truing.world.prompts import KINDS, SHORT, Kind, Prompt, Split, Tale, prompts, read_prompt
from truing.world.scoring import Assessment, Verdict, assess, score

__all__ = [
    "Assessment",
    "Candidate",
    "Group",
    "KINDS",
    "Kind",
    "Labeller",
    "MAX_NEW_TOKENS",
    "MODELS",
    "ModelName",
    "Pair",
    "PairFacts",
    "Prompt",
    "SHORT",
    "Split",
    "Tale",
    "Verdict",
    "assess",
    "describe_pairs",
    "groups",
    "manifest",
    "model_folder",
    "pairs",
    "prompts",
    "read_prompt",
    "score",
    "write_rows",
]
