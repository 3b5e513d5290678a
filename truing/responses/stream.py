"""A response while it is drawn: the same words as `sample` gives, one piece after the other."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from truing.core.progress import SILENT
from truing.responses.sample import Response, Sampling, _Batch, _check_lengths, _end_tokens, _rows

ONE_RESPONSE = Sampling()
_UNFINISHED = "\ufffd"  # a letter of several tokens, not all of them drawn


def stream(
    model: Any,
    tokenizer: Any,
    prompt: Sequence[int],
    *,
    sampling: Sampling = ONE_RESPONSE,
    seed: int = 0,
) -> Iterator[str | Response]:
    """Pieces of text as tokens are drawn, and behind the last piece the whole response.

    Args:
        model: a causal language model of transformers.
        tokenizer: its tokenizer.
        prompt: token ids, at least one.
        sampling: how hot, how long; one response.
        seed: the same seed gives the same response, also from `sample`.

    Raises:
        ConfigError: an empty prompt.
        FitError: the prompt and the new tokens are longer than the model can read.
    """
    _check_lengths(model, [prompt], sampling.max_new_tokens)
    ends = torch.tensor(sorted(_end_tokens(model, tokenizer)), device=model.device)
    batch = _Batch(model, _rows([prompt], 1, seed), sampling, ends)
    shown = ""
    for text in _growing(batch, model, tokenizer):
        if not text.endswith(_UNFINISHED) and text.startswith(shown):
            yield text[len(shown) :]
            shown = text
    [response] = batch.responses(tokenizer)
    yield response.text[len(shown) :]
    yield response


def _growing(batch: _Batch, model: Any, tokenizer: Any) -> Iterator[str]:
    """All of the text so far, after each token."""
    was_training = model.training
    model.eval()
    with SILENT.task(total=None, description="") as task:
        for _ in batch.steps_with(task):
            [response] = batch.responses(tokenizer)
            yield response.text
    model.train(was_training)
