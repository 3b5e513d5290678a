"""Rows one chunk after the other: what inspection keeps of each, and what it counts on the way.

No text is kept: of a row its lengths, numbers and hashes, of a prompt a sketch. So a file that is
larger than the memory can be inspected.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from truing.core.needs import Needs
from truing.data import Row, Tokeniser
from truing.data.duplicates import Texts
from truing.data.rows import Kind, odd_turn, said, speech_id, spoken, text_of
from truing.data.signal import check_row, silence_of, without_empty
from truing.data.summary import Tallies
from truing.data.template import drops_tools
from truing.data.tokenise import TokenisedRow
from truing.data.turns import LossTurns
from truing.data.where import Fault, Where
from truing.errors import NeedsError

LONGEST = 8192
"""Tokens of the longest row that is scored where the model says no limit."""
_SAMPLE = 1200  # characters of the sample that shows where a response begins
_TOKEN_WORDS = ("moved", "end_first", "ends_inside", "special", "odd_turns", "several_turns")


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What is left of a row when its text is gone; lengths in tokens or in characters.

    Args:
        where: file and row.
        kind: "pair", "kwise" or "unpaired".
        id: hash of the content.
        prompt: hash of the prompt, 0 where it is empty.
        responses: hash of each response.
        prompt_length: of the prompt.
        lengths: of what is learned of each response.
        totals: of each response, with what others say in it.
        scores: a judge's number for each response.
        label: of an unpaired row.
        win_probability: for each response.
    """

    where: Where
    kind: Kind
    id: int
    prompt: int
    responses: tuple[int, ...]
    prompt_length: int
    lengths: tuple[int, ...]
    totals: tuple[int, ...]
    scores: tuple[float, ...] | None
    label: bool | None
    win_probability: tuple[float, ...] | None


@dataclass
class Survey:
    """Takes rows chunk by chunk.

    Args:
        tokenizer: of transformers; None: lengths are in characters.
        needs: of the objective that the rows are judged by.
        loss_turns: which turns of a response of several turns are learned.
        num_kept: so many pair rows are kept whole, those with the smallest row ids.
        longest_kept: tokens of the longest row that is kept.
        facts: of every row that the template takes.
        faults: rows that it refuses.
        with_signal: indices of rows that teach something.
        silent: the others by reason, and what else was met.
        counts: rows by kind, conversations, empty prompts.
        texts: what the rows are about.
        unmet: the first need of the objective that a row does not meet.
        kept: whole rows.
    """

    tokenizer: Any
    needs: Needs
    loss_turns: LossTurns = "all"
    num_kept: int = 0
    longest_kept: int = 0
    facts: list[RowFacts] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    with_signal: list[int] = field(default_factory=list)
    silent: Tallies = field(default_factory=Tallies)
    counts: Counter[str] = field(default_factory=Counter)
    texts: Texts = field(default_factory=Texts)
    unmet: NeedsError | None = None
    kept: list[Row] = field(default_factory=list)
    _tokens: Tallies = field(default_factory=Tallies)
    _moved: int = 0
    _sample: str = ""

    def __post_init__(self) -> None:
        self._tokeniser = (
            None if self.tokenizer is None else Tokeniser(self.tokenizer, self.loss_turns)
        )

    def read(self, batches: Iterable[Sequence[Row]]) -> Iterator[int]:
        """All rows, some at a time; after each batch how many it had."""
        if self._tokeniser is None:
            for rows in batches:
                for row in rows:
                    lengths = tuple(len(said(response)) for response in row.responses)
                    self._take(row, len(text_of(row.prompt)), lengths, lengths)
                yield len(rows)
            return
        for items in self._tokeniser.stream(batches):
            for item in items:
                if isinstance(item, Fault):
                    self.faults.append(item)
                    continue
                totals = tuple(map(len, item.responses))
                self._take(item.row, len(item.prompt), item.learned_lengths, totals)
                self._count_tokens(item)
            yield len(items)

    def _take(
        self, row: Row, prompt: int, lengths: tuple[int, ...], totals: tuple[int, ...]
    ) -> None:
        self._judge(row, prompt + max(totals))
        self.counts[f"kind {row.kind}"] += 1
        self.counts["conversational"] += row.is_conversational
        self.counts["empty_prompts"] += not text_of(row.prompt).strip()
        self.texts.add(row)
        self.facts.append(
            RowFacts(
                row.where,
                row.kind,
                row.id,
                speech_id(row.prompt) if row.prompt else 0,
                tuple(map(speech_id, row.responses)),
                prompt,
                lengths,
                totals,
                row.scores,
                row.label,
                row.win_probability,
            )
        )

    def _judge(self, row: Row, length: int) -> None:
        """Whether the row has a signal, and what its scores say."""
        if self.unmet is None:
            try:
                check_row(row, self.needs)
            except NeedsError as error:
                self.unmet = error
        full = without_empty(row)
        if full is not row:
            self.silent.add("empty_in_kwise", row.where)
        reason = silence_of(full, self.needs)
        if reason is None:
            self.with_signal.append(len(self.facts))
        else:
            self.silent.add(reason, row.where)
        if row.kind == "pair" and row.scores is not None and row.scores[0] <= row.scores[1]:
            is_tie = row.scores[0] == row.scores[1]
            self.silent.add("ties" if is_tie else "reversals", row.where)
        if _lacks_space(row):
            self.silent.add("joined", row.where)
        if drops_tools(row, None if self._tokeniser is None else self._tokeniser.renderer):
            self.silent.add("idle_tools", row.where)
        if self.num_kept and row.kind == "pair" and length <= self.longest_kept:
            self._keep(row)

    def _keep(self, row: Row) -> None:
        if silence_of(row, Needs()) is not None:
            return
        self.kept.append(row)
        if len(self.kept) > 2 * self.num_kept:
            self.kept = self.smallest_ids()

    def smallest_ids(self) -> list[Row]:
        """The whole rows that are wanted, in the order of their ids."""
        return sorted(self.kept, key=lambda row: row.row_id)[: self.num_kept]

    def _count_tokens(self, item: TokenisedRow) -> None:
        assert self._tokeniser is not None
        met = {
            "moved": item.moved > 0,
            "end_first": item.end_was_put_first,
            "ends_inside": item.num_ends_inside > 0,
            "special": self._tokeniser.renderer.spells_control(spoken(item.row)),
            "odd_turns": bool(odd_turn(item.row)),
            "several_turns": item.learned is not None,
        }
        for word, is_so in met.items():
            if is_so:
                self._tokens.add(word, item.row.where)
        self._moved += item.moved
        self._sample = self._sample or _sample(self.tokenizer, item)

    @property
    def template(self) -> dict[str, Any]:
        """How rows become tokens; empty without a tokenizer."""
        if self.tokenizer is None:
            return {}
        begin = self.tokenizer.bos_token
        return {
            "tokenizer": str(self.tokenizer.name_or_path),
            "has_chat_template": bool(self.tokenizer.chat_template),
            "end_token": str(self.tokenizer.eos_token),
            "begin_token": None if begin is None else str(begin),
            "moved_tokens": self._moved,
            **{word: self._tokens[word].to_json() for word in _TOKEN_WORDS},
            "sample": self._sample,
        }


def _lacks_space(row: Row) -> bool:
    """Plain text whose prompt and first response would run into one word."""
    first = row.responses[0]
    return (
        isinstance(row.prompt, str)
        and isinstance(first, str)
        and row.prompt[-1:].isalnum()
        and first[:1].isalnum()
    )


def _sample(tokenizer: Any, item: TokenisedRow) -> str:
    """The first row as the model reads it, with a mark where the response begins."""
    prompt, response = tokenizer.decode(item.prompt), tokenizer.decode(item.responses[0])
    head = (
        prompt
        if len(prompt) <= _SAMPLE
        else f"{prompt[: _SAMPLE // 2]} … {prompt[-_SAMPLE // 2 :]}"
    )
    tail = (
        response if len(response) <= _SAMPLE else f"{response[: _SAMPLE - 60]} … {response[-60:]}"
    )
    return f"{head}⟦response⟧{tail}"
