"""A score from a function of the user's own."""

import importlib
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from inspect import getsourcefile
from pathlib import Path
from typing import Any, ClassVar

from truing.errors import ConfigError
from truing.responses.groups import Group
from truing.responses.scorers import OpenScorer, Scorer, Verdict


@dataclass(frozen=True, repr=False)
class Python(Scorer):
    """A Python function: `function(prompt, response) -> float`, both texts.

    The prompt of a conversation is its turns' words, one below the other. What the function raises
    concerns one response alone: it gets no score, and the fault is reported.

    Args:
        call: "module:function"; the working folder is looked in too.
        batched: the function takes a list of prompts and a list of responses and gives a list of
            numbers. Where it raises, the responses are tried one by one.
    """

    word: ClassVar[str] = "python"
    call: str
    batched: bool = False

    def key(self) -> str:
        """See `Scorer`; with the content of the function's file."""
        function = self._function()
        try:
            source = getsourcefile(function)
        except TypeError:  # made in C, or an object that is called: it has no file
            source = None
        content = Path(source).read_bytes() if source else b""
        return f"{self!r} {sha256(content).hexdigest()[:16]}"

    def opened(self) -> OpenScorer:
        """See `Scorer`.

        Raises:
            ConfigError: there is no such function.
        """
        return _Open(self._function(), is_batched=self.batched)

    def _function(self) -> Callable[..., Any]:
        module, colon, name = self.call.partition(":")
        if not (module and colon and name):
            raise ConfigError(
                "is not of the form module:function",
                where=repr(self),
                fix="write for instance python(call='my_scores:politeness')",
            )
        if "" not in sys.path:
            sys.path.insert(0, "")
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"cannot be found ({error})",
                where=repr(self),
                fix="run in the folder of the module, or install it",
            ) from error
        if not callable(found):
            raise ConfigError("is no function", where=repr(self), fix="name a function")
        return found


class _Open(OpenScorer):
    def __init__(self, function: Callable[..., Any], *, is_batched: bool) -> None:
        self._function, self._is_batched = function, is_batched

    def __call__(self, groups: Sequence[Group]) -> list[Verdict]:
        pairs = [(group.prompt.text, said.text) for group in groups for said in group.responses]
        results = iter(self._batch(pairs) if self._is_batched else map(self._one, pairs))
        verdicts = []
        for group in groups:
            found = [next(results) for _ in group.responses]
            verdicts.append(Verdict.of_each(found))
        return verdicts

    def _batch(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, str]]:
        try:
            scores = self._function([prompt for prompt, _ in pairs], [said for _, said in pairs])
            values = [float(score) for score in scores]
        except Exception:  # a function of the user may raise anything
            values = []
        if len(values) == len(pairs):
            return [(value, "") for value in values]
        return [self._one(pair) for pair in pairs]

    def _one(self, pair: tuple[str, str]) -> tuple[float, str]:
        try:
            if self._is_batched:
                (score,) = self._function([pair[0]], [pair[1]])
            else:
                score = self._function(*pair)
            return float(score), ""
        except Exception as error:  # a function of the user may raise anything
            return math.nan, f"{type(error).__name__}: {str(error)[:120]}"
