"""Where the prompt ends and the response begins, in tokens."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from truing.data.cache import TokenCache, is_worth_a_file
from truing.data.examples import Ids
from truing.data.rows import Row
from truing.data.template import Renderer
from truing.data.where import CellError, Fault


@dataclass(frozen=True)
class TokenisedRow:
    """A row's ids before any limit.

    Args:
        row: what was tokenised.
        prompt: ids, at least one.
        responses: ids of each, the end token included.
        moved: tokens of the prompt alone that became part of the responses.
        end_was_put_first: the prompt had no token and the tokenizer no begin token.
        num_ends_inside: responses with an end token before their last one.
    """

    row: Row
    prompt: Ids
    responses: tuple[Ids, ...]
    moved: int
    end_was_put_first: bool
    num_ends_inside: int


class Tokeniser:
    """Rows to ids by the border rule.

    The whole text of each response, with its prompt, is tokenised. The row's prompt is the longest
    token prefix that is common to all its responses and to the prompt alone; so every response
    token is one that the model meets in the whole text, also where the tokenizer joins the end
    of the prompt with the beginning of the response. The end token is there once, the begin token
    as often as the tokenizer (plain text) or the template (conversations) puts it, at most once.

    Args:
        tokenizer: of transformers.

    Raises:
        ModelError: it has no end token.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.renderer = Renderer(tokenizer)
        self._tokenizer = tokenizer
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
            return list(found)
        results = self._computed(rows)
        good = [item for item in results if isinstance(item, TokenisedRow)]
        if path is not None and len(good) == len(results):
            TokenCache.save(path, _packed(good))
        return results

    @cached_property
    def _cache(self) -> TokenCache:
        """Under a key of everything that the ids depend on beside the text."""
        assert self._fast is not None
        parts = (self._fast.to_str(), self._tokenizer.chat_template, self._end, self._begin)
        return TokenCache(hashlib.blake2b(repr(parts).encode(), digest_size=16).digest())

    def _computed(self, rows: Sequence[Row]) -> list[TokenisedRow | Fault]:
        rendered: list[Any] = []
        for row in rows:
            try:
                rendered.append(self.renderer.render(row))
            except CellError as bad:
                rendered.append(bad.at(row.where, raw=""))
        texts = dict.fromkeys(
            text
            for item in rendered
            if not isinstance(item, Fault)
            for text in (item.prompt, *item.wholes)
        )
        ids = dict(zip(texts, self._encode(list(texts)), strict=True))
        results: list[TokenisedRow | Fault] = []
        for row, item in zip(rows, rendered, strict=True):
            if isinstance(item, Fault):
                results.append(item)
                continue
            begin = [] if row.is_conversational else self._begin
            wholes = [
                self._with_begin(begin, ids[text]) + ([] if is_ended else [self._end])
                for text, is_ended in zip(item.wholes, item.ends, strict=True)
            ]
            results.append(self._split(row, self._with_begin(begin, ids[item.prompt]), wholes))
        return results

    def _with_begin(self, begin: list[int], ids: list[int]) -> list[int]:
        return ids if not begin or ids[: len(begin)] == begin else begin + ids

    def _split(self, row: Row, alone: list[int], wholes: list[list[int]]) -> TokenisedRow:
        border = min(common_length(alone, whole) for whole in wholes)
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


def _packed(rows: Sequence[TokenisedRow]) -> dict[str, np.ndarray]:
    """Rows as a few arrays, for the cache."""
    speeches = [speech for row in rows for speech in (row.prompt, *row.responses)]
    return {
        "ids": np.concatenate(speeches),
        "lengths": np.array([len(speech) for speech in speeches]),
        "facts": np.array([(r.moved, r.end_was_put_first, r.num_ends_inside) for r in rows]),
    }


def _unpacked(
    rows: Sequence[Row], arrays: dict[str, np.ndarray] | None
) -> Iterator[TokenisedRow] | None:
    """The inverse of `_packed`; None where the arrays are not those of these rows."""
    if arrays is None or set(arrays) != {"ids", "lengths", "facts"}:
        return None
    ids, lengths, facts = arrays["ids"], arrays["lengths"], arrays["facts"]
    wanted = sum(1 + len(row.responses) for row in rows)
    if len(lengths) != wanted or lengths.sum() != len(ids) or facts.shape != (len(rows), 3):
        return None
    speeches = iter(np.split(ids, np.cumsum(lengths)[:-1]))
    return (
        TokenisedRow(
            row,
            next(speeches),
            tuple(next(speeches) for _ in row.responses),
            int(moved),
            bool(end_first),
            int(ends_inside),
        )
        for row, (moved, end_first, ends_inside) in zip(rows, facts, strict=True)
    )


def common_length(one: list[int], other: list[int]) -> int:
    """How many ids both begin with."""
    most = min(len(one), len(other))
    if one[:most] == other[:most]:
        return most
    return next(i for i in range(most) if one[i] != other[i])


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
