"""Whether a tokenizer given by itself speaks of the tokens that the model has learned."""

from contextlib import suppress
from typing import Any

from truing.engine.models import load_tokenizer
from truing.errors import ConfigError, ModelError

# Renamed special tokens and added ones are common; another vocabulary shares next to nothing.
_LEAST_SHARE = 0.5


def refuse_other_vocabulary(tokenizer: Any, model: str) -> None:
    """A model trained on ids that mean something else would learn its language anew, silently.

    Args:
        tokenizer: of the run.
        model: the policy's folder or name; one without a tokenizer of its own says nothing.

    Raises:
        ConfigError: most of the ids mean other tokens to the model.
    """
    own = None
    with suppress(ModelError):
        own = load_tokenizer(model)
    if own is None:
        return
    ours, theirs = own.get_vocab(), tokenizer.get_vocab()
    same = sum(theirs.get(token) == number for token, number in ours.items())
    if same < _LEAST_SHARE * min(len(ours), len(theirs)):
        raise ConfigError(
            f"of the model's {len(ours)} tokens {same} have the same id in this tokenizer: it is "
            "another model's",
            where="tokenizer",
            fix="leave it out, or give one that was made from the model's own",
        )
