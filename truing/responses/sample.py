"""Prompts in, responses out: a sampler whose draws depend on the seed and the prompt alone.

A token is drawn by adding Gumbel noise to the log-probs and taking the largest sum (Gumbel 1954;
Maddison, Tarlow and Minka 2014). The noise is a pure function of (seed, prompt, response, step,
token), so batch size, order and company of a prompt change no response, save where two tokens tie
within the rounding of a matrix product; and two policies that see the same seed see the same noise,
so before and after are compared with little variance.

B rows of a batch, V vocabulary, T tokens.
"""

import inspect
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from truing.core.hashing import hashed, uniform
from truing.core.progress import SILENT, Progress, Task
from truing.errors import ConfigError, FitError

# Rows that are done go on costing until they are dropped, and dropping copies the cache.
_DONE_BEFORE_DROP = 1 / 16


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn.

    Args:
        num_responses: K, of each prompt.
        temperature: divides the log-probs; 0 takes the likeliest token always.
        top_p: draw from the smallest set of likeliest tokens that holds this much probability.
        top_k: draw from so many likeliest tokens; None: from all.
        max_new_tokens: a response that has no end token by then is cut.

    Raises:
        ConfigError: a value out of its range, or without effect.
    """

    num_responses: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None
    max_new_tokens: int = 256

    def __post_init__(self) -> None:
        faults = {
            "num_responses must be 1 or more": self.num_responses < 1,
            "temperature must be 0 or more": self.temperature < 0,
            "top_p must lie above 0 and not above 1": not 0 < self.top_p <= 1,
            "top_k must be 1 or more": self.top_k is not None and self.top_k < 1,
            "max_new_tokens must be 1 or more": self.max_new_tokens < 1,
            "at temperature 0 top_p, top_k and more than one response have no effect": (
                self.temperature == 0
                and (self.top_p < 1 or self.top_k is not None or self.num_responses > 1)
            ),
        }
        for fault, is_true in faults.items():
            if is_true:
                raise ConfigError(fault, where=repr(self), fix="change the value, or leave it out")


@dataclass(frozen=True)
class Response:
    """What a model said.

    Args:
        text: decoded, without the end token.
        tokens: ids, the end token included where it came.
        finished: whether the end token came before the limit.
        logp: log-prob of all tokens, nats, under the model itself (temperature 1, no top-p or
            top-k), the end token included.
    """

    text: str
    tokens: tuple[int, ...]
    finished: bool
    logp: float


def sample(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    sampling: Sampling = Sampling(),
    seed: int = 0,
    batch_size: int = 256,
    progress: Progress = SILENT,
    description: str = "sampling",
) -> list[list[Response]]:
    """Draw K responses to each prompt, in the order of the prompts.

    Any causal language model of transformers will do, with adapters or without. Equal prompts
    get different responses.

    Args:
        model: a causal language model of transformers.
        tokenizer: its tokenizer; decodes, and names the end token.
        prompts: token ids, at least one each.
        sampling: how many, how hot, how long.
        seed: the same seed gives the same responses, whatever the batch size.
        batch_size: responses drawn at a time; they share a forward pass.
        progress: told of each response that is done.
        description: what the progress calls this work.

    Raises:
        ConfigError: an empty prompt.
        FitError: a prompt and its new tokens are longer than the model can read.
    """
    _check_lengths(model, prompts, sampling.max_new_tokens)
    rows = _rows(prompts, sampling.num_responses, seed)
    # Prompts of like length share a batch, so that little is padded.
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].prompt))
    ends = torch.tensor(sorted(_end_tokens(model, tokenizer)), device=model.device)
    drawn: list[Response | None] = [None] * len(rows)
    was_training = model.training
    model.eval()
    with torch.no_grad(), progress.task(total=len(rows), description=description) as task:
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            batch = _Batch(model, [rows[i] for i in part], sampling, ends)
            for index, response in zip(part, batch.run(tokenizer, task), strict=True):
                drawn[index] = response
    model.train(was_training)
    width = sampling.num_responses
    found = [response for response in drawn if response is not None]
    return [found[start : start + width] for start in range(0, len(found), width)]


@dataclass(frozen=True)
class _Row:
    prompt: Sequence[int]
    key: int
    """64 bits that all its draws are made from."""


def _rows(prompts: Sequence[Sequence[int]], num_responses: int, seed: int) -> list[_Row]:
    seen: Counter[int] = Counter()
    rows = []
    for prompt in prompts:
        content = sha256(",".join(map(str, prompt)).encode()).digest()[:8]
        key = int.from_bytes(content, signed=True)
        for _ in range(num_responses):
            rows.append(_Row(prompt, int(hashed(seed, key, seen[key]))))
            seen[key] += 1
    return rows


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Every token that ends a response: the tokenizer's, and those of the generation settings."""
    settings = getattr(model, "generation_config", None)
    named = getattr(settings, "eos_token_id", None)
    ends = {named} if isinstance(named, int) else set(named or ())
    return ends | ({tokenizer.eos_token_id} - {None})


def _check_lengths(model: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    if any(len(prompt) == 0 for prompt in prompts):
        raise ConfigError(
            "an empty prompt has no token to go on from",
            where="sampling",
            fix="begin the prompt with the tokenizer's start or end token",
        )
    longest = max(map(len, prompts), default=0)
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and longest + max_new_tokens > limit:
        raise FitError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones are more than the "
            f"{limit} that the model can read",
            where="sampling",
            fix=f"set max_new_tokens={max(limit - longest, 0)} or less, or leave out long prompts",
        )


def choose(
    logps: Float[Tensor, "B V"],
    keys: Int[Tensor, "B"],
    step: int,
    sampling: Sampling,
) -> Int[Tensor, "B"]:
    """Draw one token a row; `keys` are 64 bits of each row, `step` counts its tokens from 0."""
    if sampling.temperature == 0:
        return logps.argmax(dim=-1)
    kept = _filtered(logps / sampling.temperature, sampling)
    tokens = torch.arange(logps.shape[1], device=logps.device)
    noise = uniform(hashed(hashed(keys, step)[:, None], tokens))
    return (kept - noise.log().neg().log()).argmax(dim=-1)


def _filtered(logits: Float[Tensor, "B V"], sampling: Sampling) -> Float[Tensor, "B V"]:
    """Minus infinity for tokens outside the top k and the top p."""
    if sampling.top_k is not None and sampling.top_k < logits.shape[1]:
        least = logits.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if sampling.top_p < 1:
        ranked, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
        # A token stays if those before it hold less than top_p: the first one always does.
        is_out = (ranked.cumsum(dim=-1) - ranked) >= sampling.top_p
        logits = logits.masked_fill(is_out.gather(-1, order.argsort(dim=-1)), -torch.inf)
    return logits


class _Batch:
    """Some rows on their way, those that are done dropped from the forward pass."""

    def __init__(
        self, model: Any, rows: list[_Row], sampling: Sampling, ends: Int[Tensor, "E"]
    ) -> None:
        self.sampling, self.ends = sampling, ends
        device = ends.device
        self.keys = torch.tensor([row.key for row in rows], device=device)
        self.alive = torch.arange(len(rows), device=device)
        self.tokens = torch.zeros(
            len(rows), sampling.max_new_tokens, dtype=torch.int64, device=device
        )
        self.lengths = torch.zeros(len(rows), dtype=torch.int64, device=device)
        self.finished = torch.zeros(len(rows), dtype=torch.bool, device=device)
        self.logp = torch.zeros(len(rows), dtype=torch.float64, device=device)
        prompts = [row.prompt for row in rows]
        self.steps: _Steps = (_CachedSteps if _can_cache(model) else _WholeSteps)(model, prompts)

    def run(self, tokenizer: Any, task: Task) -> list[Response]:
        """Step until every row is finished or cut."""
        for _ in self.steps_with(task):
            pass
        # Those that are left met the limit on new tokens.
        task.advance(int((~self.finished).sum()))
        return self.responses(tokenizer)

    def steps_with(self, task: Task) -> Iterator[int]:
        """Draw token after token, and stop behind each one; the number of the step, from 0."""
        new: Tensor | None = None
        for step in range(self.sampling.max_new_tokens):
            with torch.no_grad():
                new = self._step(self.steps.logits(new), step, task)
            yield step
            if new is None:
                return

    def _step(self, logits: Float[Tensor, "B V"], step: int, task: Task) -> Tensor | None:
        """Draw and write down one token a row; the tokens to go on from, None if all are done."""
        logps = (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(dim=-1)
        new = choose(logps, self.keys[self.alive], step, self.sampling)
        # A row that is done stays in the forward pass until it is dropped, but is not written to.
        going = ~self.finished[self.alive]
        rows, drawn = self.alive[going], new[going]
        self.tokens[rows, step] = drawn
        self.logp[rows] += logps.gather(-1, new[:, None]).squeeze(-1)[going].double()
        self.lengths[rows] += 1
        ended = torch.isin(drawn, self.ends)
        self.finished[rows[ended]] = True
        if done := int(ended.sum()):
            task.advance(done)
        return self._without_done(new)

    def _without_done(self, new: Int[Tensor, "B"]) -> Tensor | None:
        going = ~self.finished[self.alive]
        left = int(going.sum())
        if left == 0:
            return None
        if len(new) - left >= _DONE_BEFORE_DROP * len(new):
            keep = going.nonzero().squeeze(-1)
            self.steps.keep(keep)
            self.alive, new = self.alive[keep], new[keep]
        return new

    def responses(self, tokenizer: Any) -> list[Response]:
        lengths, finished = self.lengths.tolist(), self.finished.tolist()
        ids = [row[:n] for row, n in zip(self.tokens.tolist(), lengths, strict=True)]
        said = [row[:-1] if end else row for row, end in zip(ids, finished, strict=True)]
        texts = tokenizer.batch_decode(
            said, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [
            Response(text, tuple(row), end, logp)
            for text, row, end, logp in zip(texts, ids, finished, self.logp.tolist(), strict=True)
        ]


class _Steps(Protocol):
    """Logits of the next token, step by step."""

    def logits(self, new: Int[Tensor, "B"] | None) -> Float[Tensor, "B V"]:
        """After the prompts (None), or after one more token of each row."""
        ...

    def keep(self, rows: Int[Tensor, "A"]) -> None:
        """Go on with these rows only."""
        ...


def _inputs_of(model: Any) -> set[str]:
    """What the model's own forward takes; adapters hide it behind `**kwargs`."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return set(inspect.signature(inner.forward).parameters)


def _can_cache(model: Any) -> bool:
    """Models that keep their state elsewhere (state-space ones) are run over the whole text."""
    return {"past_key_values", "attention_mask"} <= _inputs_of(model)


class _CachedSteps:
    """Prompts padded on the left, keys and values kept."""

    def __init__(self, model: Any, prompts: list[Sequence[int]]) -> None:
        self.model, self.inputs = model, _inputs_of(model)
        self.cache: Any = None
        width = max(map(len, prompts))
        self.ids = torch.zeros(len(prompts), width, dtype=torch.int64)
        self.mask = torch.zeros_like(self.ids)
        for row, prompt in enumerate(prompts):
            self.ids[row, width - len(prompt) :] = torch.tensor(prompt)
            self.mask[row, width - len(prompt) :] = 1
        self.ids, self.mask = self.ids.to(model.device), self.mask.to(model.device)

    def logits(self, new: Int[Tensor, "B"] | None) -> Float[Tensor, "B V"]:
        """See `_Steps`."""
        ids = self.ids
        if new is not None:
            ids = new[:, None]
            self.mask = torch.cat([self.mask, torch.ones_like(ids)], dim=1)
        positions = (self.mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        extra = {"position_ids": positions, "logits_to_keep": 1}
        out = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            past_key_values=self.cache,
            use_cache=True,
            **{name: value for name, value in extra.items() if name in self.inputs},
        )
        self.cache = out.past_key_values
        return out.logits[:, -1]

    def keep(self, rows: Int[Tensor, "A"]) -> None:
        """See `_Steps`."""
        self.mask = self.mask[rows]
        self.cache.reorder_cache(rows)


class _WholeSteps:
    """The whole text anew at every step, padded on the right: slow, and right for any model."""

    def __init__(self, model: Any, prompts: list[Sequence[int]]) -> None:
        self.model = model
        self.texts = [list(prompt) for prompt in prompts]

    def logits(self, new: Int[Tensor, "B"] | None) -> Float[Tensor, "B V"]:
        """See `_Steps`."""
        if new is not None:
            for text, token in zip(self.texts, new.tolist(), strict=True):
                text.append(token)
        ids = torch.zeros(len(self.texts), max(map(len, self.texts)), dtype=torch.int64)
        for row, text in enumerate(self.texts):
            ids[row, : len(text)] = torch.tensor(text)
        last = torch.tensor([len(text) - 1 for text in self.texts])
        # Padding stands after the text, where a causal model cannot see it.
        logits = self.model(input_ids=ids.to(self.model.device)).logits
        return logits[torch.arange(len(last)), last]

    def keep(self, rows: Int[Tensor, "A"]) -> None:
        """See `_Steps`."""
        self.texts = [self.texts[row] for row in rows.tolist()]
