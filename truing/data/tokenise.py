"""Where the prompt ends and the response begins, in tokens."""

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from truing.data.cache import TokenCache, is_worth_a_file
from truing.data.examples import Ids
from truing.data.implicit import shared_start
from truing.data.rows import Row
from truing.data.template import Rendered, Renderer
from truing.data.turns import LossTurns, Mask, Span, mask_of
from truing.data.where import CellError, Fault

# Batches in work at a time: the tokenizer lets other threads run, so one is rendered meanwhile.
_AT_ONCE = 2


@dataclass(frozen=True)
class TokenisedRow:
    """A row's ids before any limit.

    Args:
        row: what was tokenised.
        prompt: ids, at least one.
        responses: ids of each, the end token included.
        moved: tokens of the prompt alone that became part of the responses.
        end_was_put_first: the prompt had no token and the tokenizer no begin token.
        num_ends_inside: responses with a learned token right behind an end token that is learned.
        learned: one mask a response, true on the tokens that carry loss; None: all do.
    """

    row: Row
    prompt: Ids
    responses: tuple[Ids, ...]
    moved: int
    end_was_put_first: bool
    num_ends_inside: int
    learned: tuple[Mask, ...] | None = None

    @property
    def learned_lengths(self) -> tuple[int, ...]:
        """Tokens of each response that carry loss."""
        if self.learned is None:
            return tuple(map(len, self.responses))
        return tuple(int(mask.sum()) for mask in self.learned)


class Tokeniser:
    """Rows to ids by the border rule.

    The whole text of each response, with its prompt, is tokenised. The row's prompt is the longest
    token prefix that is common to all its responses and to the prompt alone; so every response
    token is one that the model meets in the whole text, also where the tokenizer joins the end
    of the prompt with the beginning of the response. The end token is there once, the begin token
    as often as the tokenizer (plain text) or the template (conversations) puts it, at most once.

    A response of several turns carries loss on the assistant's turns alone; the same border rule
    says in tokens where each of them begins and ends.

    Args:
        tokenizer: of transformers.
        loss_turns: of a response of several turns: `all` of the assistant's, or the `last`.

    Raises:
        ModelError: it has no end token.
    """

    def __init__(self, tokenizer: Any, loss_turns: LossTurns = "all") -> None:
        self.renderer = Renderer(tokenizer, loss_turns)
        self._tokenizer, self._loss_turns = tokenizer, loss_turns
        self._end = int(tokenizer.eos_token_id)
        ids = list(tokenizer("").input_ids)
        while ids and ids[-1] == self._end:
            ids.pop()  # some tokenizers put an end token behind everything
        self._begin = ids
        self._fast = _without_limits(tokenizer) if tokenizer.is_fast else None

    def rows(self, rows: Sequence[Row]) -> list[TokenisedRow | Fault]:
        """Ids of some rows, from the cache where they lie there.

        A row that the template refuses is a fault.

        Raises:
            ModelError: conversations, and no chat template.
        """
        path = None
        if self._fast is not None and is_worth_a_file(rows):
            path = self._cache.path(rows)
        found = None if path is None else _unpacked(rows, TokenCache.load(path))
        if found is not None:
            return [*found]
        results = self._computed(rows)
        good = [item for item in results if isinstance(item, TokenisedRow)]
        if path is not None and len(good) == len(results):
            TokenCache.save(path, _packed(good))
        return results

    def stream(self, batches: Iterable[Sequence[Row]]) -> Iterator[list[TokenisedRow | Fault]]:
        """Ids of batch after batch, in order; some are tokenised while others are rendered.

        Raises:
            ModelError: conversations, and no chat template.
        """
        if self._fast is None:
            yield from map(self.rows, batches)
            return
        waiting: deque[Future[list[TokenisedRow | Fault]]] = deque()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                for batch in batches:
                    waiting.append(pool.submit(self.rows, batch))
                    if len(waiting) > _AT_ONCE:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    @cached_property
    def _cache(self) -> TokenCache:
        assert self.key is not None
        return TokenCache(self.key)

    @cached_property
    def key(self) -> bytes | None:
        """Of everything that the ids depend on beside the text; None where it is not known."""
        if self._fast is None:
            return None
        parts = (
            self._fast.to_str(),
            self._fast.encode_special_tokens,  # no part of the text before
            self._tokenizer.chat_template,
            self._tokenizer.special_tokens_map,  # which templates read by name
            self._end,
            self._begin,
            self._loss_turns,
        )
        return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()

    def _computed(self, rows: Sequence[Row]) -> list[TokenisedRow | Fault]:
        rendered: list[Any] = []
        for row in rows:
            try:
                rendered.append(self.renderer.render(row))
            except CellError as bad:
                rendered.append(bad.at(row.where, raw=""))
        texts = dict.fromkeys(
            text for item in rendered if not isinstance(item, Fault) for text in _texts(item)
        )
        ids = dict(zip(texts, self._encode(list(texts)), strict=True))
        return [
            item if isinstance(item, Fault) else self._row(row, item, ids)
            for row, item in zip(rows, rendered, strict=True)
        ]

    def _row(self, row: Row, item: Rendered, ids: Mapping[str, list[int]]) -> TokenisedRow | Fault:
        begin = [] if row.is_conversational else self._begin
        wholes = [
            self._with_begin(begin, ids[text]) + ([] if is_ended else [self._end])
            for text, is_ended in zip(item.wholes, item.ends, strict=True)
        ]
        found = self._split(row, self._with_begin(begin, ids[item.prompt]), wholes)
        if not any(item.learned):
            return found
        border = len(wholes[0]) - len(found.responses[0])
        masks = tuple(
            mask_of(len(whole) - border, _in_tokens(spans, text, ids, len(whole), border))
            for spans, text, whole in zip(item.learned, item.wholes, wholes, strict=True)
        )
        if all(mask.any() for mask in masks):
            inside = sum(map(self._goes_on, found.responses, masks))
            return replace(found, learned=masks, num_ends_inside=inside)
        what = "no token of the response is the assistant's"
        return Fault(row.where, what, "give a response in which the assistant says something")

    def _goes_on(self, response: Ids, mask: Mask) -> bool:
        """Whether the loss goes on behind an end token; where a turn ends, it does not."""
        return bool(((response[:-1] == self._end) & mask[:-1] & mask[1:]).any())

    def _with_begin(self, begin: list[int], ids: list[int]) -> list[int]:
        return ids if not begin or ids[: len(begin)] == begin else begin + ids

    def _split(self, row: Row, alone: list[int], wholes: list[list[int]]) -> TokenisedRow:
        border = min(shared_start(alone, whole) for whole in wholes)
        # Each response keeps a token, its end at least.
        border = min(border, min(map(len, wholes)) - 1)
        prompt = alone[:border]
        responses = [whole[border:] for whole in wholes]
        return TokenisedRow(
            row,
            np.array(prompt or [self._end], dtype=np.int32),
            tuple(np.array(response, dtype=np.int32) for response in responses),
            moved=len(alone) - border,
            end_was_put_first=not prompt,
            num_ends_inside=sum(self._end in response[:-1] for response in responses),
        )

    def _encode(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        if self._fast is not None:
            return [e.ids for e in self._fast.encode_batch_fast(texts, add_special_tokens=False)]
        return self._tokenizer(texts, add_special_tokens=False).input_ids


def _texts(item: Rendered) -> Iterator[str]:
    """What is tokenised of a row: the prompt, the wholes, and the wholes up to a turn."""
    yield item.prompt
    yield from item.wholes
    for spans, whole in zip(item.learned, item.wholes, strict=True):
        yield from (whole[:place] for place in chain(*spans) if 0 < place < len(whole))


def _in_tokens(
    spans: Sequence[Span], text: str, ids: Mapping[str, list[int]], size: int, border: int
) -> list[Span]:
    """Spans of characters of a whole as spans of tokens of its response, by the border rule.

    No spans: the whole response. The last span takes the end token with it.
    """

    def token(place: int) -> int:
        if place == 0:
            return border
        if place >= len(text):
            return size
        return shared_start(ids[text[:place]], ids[text])

    return [(token(a) - border, token(b) - border) for a, b in spans or ((0, len(text)),)]


def _packed(rows: Sequence[TokenisedRow]) -> dict[str, np.ndarray]:
    """Rows as a few arrays, for the cache."""
    speeches = [speech for row in rows for speech in (row.prompt, *row.responses)]
    masks = [mask for row in rows for mask in row.learned or ()]
    facts = [(r.moved, r.end_was_put_first, r.num_ends_inside, r.learned is not None) for r in rows]
    return {
        "ids": np.concatenate(speeches),
        "lengths": np.array([len(speech) for speech in speeches]),
        "facts": np.array(facts),
        "learned": np.concatenate([np.zeros(0, dtype=np.bool_), *masks]),
    }


def _unpacked(
    rows: Sequence[Row], arrays: dict[str, np.ndarray] | None
) -> list[TokenisedRow] | None:
    """The inverse of `_packed`; None where the arrays are not those of these rows."""
    if arrays is None or set(arrays) != {"ids", "lengths", "facts", "learned"}:
        return None
    ids, lengths, facts = arrays["ids"], arrays["lengths"], arrays["facts"]
    wanted = sum(1 + len(row.responses) for row in rows)
    if len(lengths) != wanted or lengths.sum() != len(ids) or facts.shape != (len(rows), 4):
        return None
    speeches = iter(np.split(ids, np.cumsum(lengths)[:-1]))
    marks, used = arrays["learned"], 0
    found: list[TokenisedRow] = []
    for row, (moved, end_first, ends_inside, has_mask) in zip(rows, facts.tolist(), strict=True):
        prompt, responses = next(speeches), tuple(next(speeches) for _ in row.responses)
        masks = None
        if has_mask:
            borders = used + np.cumsum([0, *map(len, responses)])
            masks, used = tuple(marks[a:b] for a, b in pairwise(borders)), int(borders[-1])
        found.append(
            TokenisedRow(row, prompt, responses, moved, bool(end_first), ends_inside, masks)
        )
    return found if used == len(marks) else None


def _without_limits(tokenizer: Any) -> Tokenizer:
    """The fast tokenizer; a copy where someone has set truncation or padding on it.

    Its own threads tokenise a batch, unless TOKENIZERS_PARALLELISM says no.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    backend: Tokenizer = tokenizer.backend_tokenizer
    reads_text_only = bool(getattr(tokenizer, "split_special_tokens", False))
    is_plain = backend.truncation is None and backend.padding is None
    if is_plain and backend.encode_special_tokens == reads_text_only:
        return backend
    copy = Tokenizer.from_str(backend.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.encode_special_tokens = reads_text_only
    return copy
