"""The lengths of rows, in tokens or in characters, and what was met on the way to the tokens."""

from dataclasses import dataclass, field
from typing import Any

from truing.core.progress import Progress
from truing.data import Row, Tokeniser
from truing.data.rows import odd_turn, spoken, text_of
from truing.data.summary import Tallies
from truing.data.where import Fault

_CHUNK = 1024
_SAMPLE = 1200  # characters of the sample that shows where a response begins


@dataclass
class MeasuredRows:
    """Rows with the length of their prompt and of each response."""

    rows: list[Row]
    faults: list[Fault]
    prompts: list[int] = field(default_factory=list)
    responses: list[tuple[int, ...]] = field(default_factory=list)
    template: dict[str, Any] = field(default_factory=dict)

    def count_characters(self) -> None:
        """Lengths without a tokenizer."""
        self.prompts = [len(text_of(row.prompt)) for row in self.rows]
        self.responses = [tuple(len(text_of(r)) for r in row.responses) for row in self.rows]

    def tokenise(self, tokenizer: Any, progress: Progress) -> None:
        """Lengths in tokens, the end token counted; rows that the template refuses are faults."""
        tokeniser = Tokeniser(tokenizer)
        special = tokeniser.renderer.special_texts
        kept: list[Row] = []
        tallies, moved_tokens, sample = Tallies(), 0, ""
        with progress.task(total=len(self.rows), description="tokenising") as task:
            for start in range(0, len(self.rows), _CHUNK):
                chunk = self.rows[start : start + _CHUNK]
                for item in tokeniser.rows(chunk):
                    if isinstance(item, Fault):
                        self.faults.append(item)
                        continue
                    row = item.row
                    kept.append(row)
                    self.prompts.append(len(item.prompt))
                    self.responses.append(tuple(map(len, item.responses)))
                    moved_tokens += item.moved
                    facts = {
                        "moved": item.moved > 0,
                        "end_first": item.end_was_put_first,
                        "ends_inside": item.num_ends_inside > 0,
                        "special": any(s in text for text in spoken(row) for s in special),
                        "odd_turns": bool(odd_turn(row)),
                    }
                    for word, is_so in facts.items():
                        if is_so:
                            tallies.add(word, row.where)
                    sample = sample or _sample(tokenizer, item)
                task.advance(len(chunk))
        self.rows = kept
        words = ("moved", "end_first", "ends_inside", "special", "odd_turns")
        self.template = {
            "tokenizer": str(tokenizer.name_or_path),
            "has_chat_template": bool(tokenizer.chat_template),
            "end_token": str(tokenizer.eos_token),
            "begin_token": None if tokenizer.bos_token is None else str(tokenizer.bos_token),
            "moved_tokens": moved_tokens,
            **{word: tallies[word].to_json() for word in words},
            "sample": sample,
        }


def _sample(tokenizer: Any, item: Any) -> str:
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
