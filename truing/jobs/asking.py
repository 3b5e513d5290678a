"""Prompts put to the policy of a run: its responses, their scores, and how far each token moved."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from truing.core.progress import Progress
from truing.engine import PaddedEngine
from truing.errors import ConfigError
from truing.jobs.evaluated import Spoken
from truing.jobs.scores import Score
from truing.pairs.prompts import read_prompts as read_source
from truing.references.fill import fill
from truing.responses import Response, Sampling, sample
from truing.responses.groups import Asked
from truing.responses.samplers import prompt_ids

_BATCH = 128
_TOKENS = 16_384  # of one forward pass of the policy and of the reference


@dataclass(frozen=True)
class Asking:
    """What is asked, and how the responses are scored.

    Args:
        prompts: file or folder of rows with a `prompt`, or "world", "world(rows=50)": prompts of
            the embedded world, those to test on where the expression names no split.
        number: the first so many different prompts; None: all.
        responses: drawn of each.
        max_new_tokens: a response without an end token by then is cut.
        seed: of the draws; equal seeds give equal noise to every policy.
        score: an expression such as "world()"; None: no score.
    """

    prompts: str
    number: int | None = None
    responses: int = 1
    max_new_tokens: int = 256
    seed: int = 0
    score: str | None = None

    def __post_init__(self) -> None:
        if self.responses < 1 or self.max_new_tokens < 1 or (self.number or 1) < 1:
            raise ConfigError(
                "number, responses and max_new_tokens must be 1 or more",
                where=repr(self),
                fix="change the value, or leave it out",
            )

    def settings(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class AskedPrompt:
    """A prompt as text for the page, as ids for models, and as it was asked for scorers."""

    text: str
    ids: tuple[int, ...]
    asked: Asked | None = None
    """Turns and tools; None: the text."""

    @property
    def question(self) -> Asked:
        """What other models and scorers read."""
        return Asked(self.text) if self.asked is None else self.asked


@dataclass(frozen=True)
class _TokenRow:
    prompt: np.ndarray
    responses: tuple[np.ndarray, ...]


def read_prompts(asking: Asking, tokenizer: Any) -> list[AskedPrompt]:
    """The different prompts of the source, in order, through the tokenizer's template.

    Raises:
        RowError: a record without a prompt, or no prompt at all.
        ConfigError: conversations, and no chat template that takes them.
    """
    found: dict[tuple[int, ...], AskedPrompt] = {}
    for one in read_source(asking.prompts, split="test", carries_calls=True).asked:
        ids = tuple(prompt_ids(tokenizer, one))
        found.setdefault(ids, AskedPrompt(one.text, ids, one))
    return list(found.values())[: asking.number]


def ask(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[AskedPrompt],
    asking: Asking,
    progress: Progress,
    description: str,
) -> list[list[Response]]:
    """Responses of one policy, a list a prompt."""
    limit = getattr(model.config, "max_position_embeddings", None)
    longest = max(len(prompt.ids) for prompt in prompts)
    new = asking.max_new_tokens if limit is None else min(asking.max_new_tokens, limit - longest)
    if new < asking.max_new_tokens:
        progress.note(
            f"responses are cut at {max(1, new)} tokens: the longest prompt has {longest}, and the "
            f"model reads {limit}"
        )
    return sample(
        model,
        tokenizer,
        [prompt.ids for prompt in prompts],
        sampling=Sampling(num_responses=asking.responses, max_new_tokens=max(1, new)),
        seed=asking.seed,
        batch_size=_BATCH,
        progress=progress,
        description=description,
    )


def log_ratios(
    policy: Any,
    reference: Any,
    prompts: Sequence[AskedPrompt],
    responses: Sequence[Sequence[Response]],
    progress: Progress,
) -> list[np.ndarray]:
    """log(policy / reference) of every token, nats, one array a response in order."""
    rows = [
        _TokenRow(
            np.array(prompt.ids, dtype=np.int32),
            tuple(np.array(one.tokens, dtype=np.int32) for one in group),
        )
        for prompt, group in zip(prompts, responses, strict=True)
    ]
    widest = max(
        len(row.responses) * (len(row.prompt) + max(map(len, row.responses))) for row in rows
    )
    engine = PaddedEngine(max(_TOKENS, widest))
    ours = fill(policy, rows, engine, progress, "distance: policy")
    theirs = fill(reference, rows, engine, progress, "distance: reference")
    found: list[np.ndarray] = []
    for row, one, other in zip(rows, ours, theirs, strict=True):
        ends = np.cumsum([len(response) for response in row.responses])[:-1]
        found += np.split(one - other, ends)
    return found


def spoken(
    tokenizer: Any,
    prompts: Sequence[AskedPrompt],
    responses: Sequence[Sequence[Response]],
    ratios: Sequence[np.ndarray] | None,
    score: Score | None,
) -> tuple[Spoken, ...]:
    """Responses with everything that is known of them, in order."""
    flat = [
        (index, number, one)
        for index, group in enumerate(responses)
        for number, one in enumerate(group)
    ]
    scores = None
    if score is not None:
        asked = [(prompts[index].question, one.text, one.finished) for index, _, one in flat]
        scores = score(asked)
    return tuple(
        Spoken(
            prompt=prompts[index].text,
            key=key_of(prompts[index].ids),
            number=number,
            text=one.text,
            tokens=one.tokens,
            pieces=pieces(tokenizer, one),
            log_ratios=() if ratios is None else tuple(map(float, ratios[place])),
            logp=one.logp,
            finished=one.finished,
            score=None if scores is None else scores[place],
        )
        for place, (index, number, one) in enumerate(flat)
    )


def key_of(ids: Sequence[int]) -> str:
    """A prompt's name by content: equal ids, equal names."""
    return hashlib.blake2b(",".join(map(str, ids)).encode(), digest_size=8).hexdigest()


def pieces(tokenizer: Any, response: Response) -> tuple[str, ...]:
    """The text of each token; together they are the response (the end token's is empty)."""
    said = response.tokens[:-1] if response.finished else response.tokens
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    alone = tokenizer.batch_decode([[token] for token in said], **options)
    if "".join(alone) != response.text:
        # Letters of several tokens, and tokenizers that drop a first space: decode what grew.
        # A token in the middle of a letter shows nothing until the letter is whole.
        grown = [tokenizer.decode(said[: i + 1], **options) for i in range(len(said))]
        whole = [""]
        for text in grown:
            whole.append(whole[-1] if text.endswith("\ufffd") else text)
        alone = [after[len(before) :] for before, after in pairwise(whole)]
    return (*alone, *([""] if response.finished else []))
