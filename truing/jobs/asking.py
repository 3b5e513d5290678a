"""Prompts put to the policy of a run: its responses, their scores, and how far each token moved."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from truing.core.progress import Progress
from truing.data import Row, Tokeniser, read_rows
from truing.data.cells import Cells
from truing.data.files import Record
from truing.data.rows import text_of
from truing.data.sources import open_sources
from truing.data.tokenise import TokenisedRow
from truing.data.where import CellError, Where, refusal
from truing.engine import PaddedEngine
from truing.errors import ConfigError, RowError
from truing.jobs.evaluated import Spoken
from truing.jobs.scores import Score
from truing.references.fill import fill
from truing.responses import Response, Sampling, sample
from truing.world import prompts as world_prompts

WORLD = "world"
_BATCH = 128
_TOKENS = 16_384  # of one forward pass of the policy and of the reference


@dataclass(frozen=True)
class Asking:
    """What is asked, and how the responses are scored.

    Args:
        prompts: file or folder of rows with a `prompt`, or "world": the embedded test prompts.
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
    """A prompt as text, as ids, and as messages or text for the page."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class _TokenRow:
    prompt: np.ndarray
    responses: tuple[np.ndarray, ...]


def read_prompts(asking: Asking, tokenizer: Any) -> list[AskedPrompt]:
    """The different prompts of the source, in order, through the tokenizer's template.

    Raises:
        RowError: a record without a prompt, or no prompt at all.
    """
    rows = _world_rows() if asking.prompts == WORLD else _rows(asking.prompts)
    found: dict[str, AskedPrompt] = {}
    for item in Tokeniser(tokenizer).rows(rows):
        if not isinstance(item, TokenisedRow):
            raise refusal([item])
        ids = tuple(int(i) for i in item.prompt)
        found.setdefault(str(ids), AskedPrompt(text_of(item.row.prompt), ids))
    prompts = list(found.values())[: asking.number]
    if not prompts:
        raise RowError("there is no prompt", where=asking.prompts, fix="give rows with `prompt`")
    return prompts


def _world_rows() -> list[Row]:
    where = Where(WORLD, 0)
    return [Row(one.text, ("",), "unpaired", where) for one in world_prompts("test")]


def _rows(source: str) -> list[Row]:
    """Rows with an empty response: the prompt is then all that is read."""
    rows: list[Row] = []
    for file, _ in open_sources(source):
        for record in file.read():
            if not isinstance(record, Record):
                raise refusal([record])
            value = record.value
            if not isinstance(value, Mapping) or "prompt" not in value:
                # Pairs that share a beginning, and layouts of other programs.
                rows += [Row(r.prompt, r.responses[:1], "unpaired", r.where) for r in _read(source)]
                return rows
            try:
                prompt = Cells(value, {}).speech("prompt", reads_tags=True)
            except CellError as bad:
                raise refusal([bad.at(record.where, record.raw)]) from bad
            rows.append(Row(prompt, (prompt[:0],), "unpaired", record.where))
    return [_with_silence(row) for row in rows]


def _read(source: str) -> list[Row]:
    return list(read_rows(source))


def _with_silence(row: Row) -> Row:
    """A conversation needs a turn of the assistant where plain text needs none."""
    if isinstance(row.prompt, str):
        return row
    from truing.data import Message

    return Row(row.prompt, ((Message("assistant", ""),),), "unpaired", row.where)


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
        asked = [(prompts[index].text, one.text, one.finished) for index, _, one in flat]
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
