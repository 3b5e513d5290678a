"""What is asked: prompts out of files, or the embedded world's own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from types import MappingProxyType
from typing import Any, ClassVar

from truing.core.called import Called
from truing.core.knobs import Count
from truing.core.language import parse
from truing.data import read_rows
from truing.data.cells import Cells
from truing.data.files import Record
from truing.data.layouts import tools_of
from truing.data.sources import open_sources
from truing.data.where import CellError, Fault, refusal
from truing.errors import KnobError, RowError
from truing.responses.groups import Asked
from truing.world import prompts as world_prompts
from truing.world.prompts import Split

WORLD = "world"
_ASKING = ("user", "tool")


@dataclass(frozen=True)
class Prompts:
    """Distinct prompts in order.

    Args:
        asked: one each.
        num_repeated: how many were left out because they had been there before.
    """

    asked: tuple[Asked, ...]
    num_repeated: int = 0

    @property
    def key(self) -> str:
        """A hash of all of them, in order."""
        return prompts_key(self.asked)

    def first(self, rows: int | None) -> "Prompts":
        """The first so many; None: all."""
        return self if rows is None else Prompts(self.asked[:rows], self.num_repeated)


def prompts_key(asked: Sequence[Asked]) -> str:
    """Sixteen hexadecimal digits of some prompts, in order."""
    digest = sha256()
    for one in asked:
        for text in (one.stored(), one.tools, str(one.is_conversation)):
            digest.update(f"{len(text)}:{text}".encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, repr=False)
class WorldPrompts(Called):
    """Prompts of the embedded world.

    Args:
        split: those to train, tune or test on; None: the first where pairs are made, the last
            where something is measured.
        rows: the first so many, after
        skip: so many that are left out.
    """

    word: ClassVar[str] = WORLD
    split: Split | None = None
    rows: Count | None = None
    skip: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.skip < 0:
            raise KnobError("skip is below 0", where=repr(self), fix="give 0 or more")

    def read(self, split: Split) -> Prompts:
        """All of them; of `split` where the value names none."""
        end = None if self.rows is None else self.skip + self.rows
        found = world_prompts(self.split or split)[self.skip : end]
        asked = tuple(Asked(one.text) for one in found)
        return distinct(dict.fromkeys(asked), len(asked), repr(self))


_SOURCES: Mapping[str, Callable[..., Any]] = MappingProxyType({WORLD: WorldPrompts})


def is_world(source: str) -> bool:
    """Whether these are prompts of the embedded world: `world`, `world(rows=500)`."""
    text = source.strip()
    return text == WORLD or text.startswith(f"{WORLD}(")


def read_prompts(source: str, *, split: Split = "train", carries_calls: bool = False) -> Prompts:
    """Prompts of a file, folder or data-set name, or of an expression such as `world(rows=500)`.

    A row has a column `prompt` (text, or turns that end with the user's) and may have `tools`;
    other columns are not looked at. Where the first row has no `prompt`, the rows are read as
    training reads them (pairs that share a beginning, layouts of other programs).

    Args:
        source: which.
        split: which prompts of the embedded world are meant where the expression names none.
        carries_calls: turns may hold more than role and content (calls of tools).

    Raises:
        RowError: a row without a prompt; no row at all.
        KnobError: a wrong knob of the expression.
    """
    if is_world(source):
        text = source.strip()
        found: WorldPrompts = parse(f"{WORLD}()" if text == WORLD else text, _SOURCES, {})
        return found.read(split)
    seen: dict[Asked, None] = {}
    faults: list[Fault] = []
    number = 0
    for one in _asked(source, carries_calls=carries_calls):
        number += 1
        if isinstance(one, Fault):
            faults.append(one)
        else:
            seen.setdefault(one)
    if faults:
        raise refusal(faults)
    return distinct(seen, number, source)


def _asked(source: str, *, carries_calls: bool) -> Iterator[Asked | Fault]:
    for file, _ in open_sources(source):
        records = file.read()
        first = next(records, None)
        if first is None:
            continue
        if _has_other_layout(first):
            for row in read_rows(source):
                try:
                    yield _fit(Asked(row.prompt, row.tools), carries_calls=carries_calls)
                except CellError as bad:
                    yield bad.at(row.where, "")
            return
        for item in chain([first], records):
            yield asked_of(item, is_text_only=file.is_text_only, carries_calls=carries_calls)


def _has_other_layout(item: Record | Fault) -> bool:
    if not (isinstance(item, Record) and isinstance(item.value, Mapping)):
        return False
    return "prompt" not in item.value and len(item.value) > 1


def distinct(seen: Mapping[Asked, Any], number: int, source: str) -> Prompts:
    """The prompts of `number` rows, each once.

    Raises:
        RowError: there is none.
    """
    if not seen:
        raise RowError("there are no prompts", where=source, fix="give a file with rows")
    return Prompts(tuple(seen), number - len(seen))


def asked_of(
    item: Record | Fault, *, is_text_only: bool = False, carries_calls: bool = False
) -> Asked | Fault:
    """What a record asks; a fault stays one.

    Args:
        item: of a file.
        is_text_only: the file holds nothing but text.
        carries_calls: see `read_prompts`.
    """
    if isinstance(item, Fault):
        return item
    try:
        if not isinstance(item.value, Mapping):
            raise CellError("is no object with columns", fix='write {"prompt": "..."} in each row')
        cells = Cells(item.value, {}, is_text_only=is_text_only)
        asked = Asked(cells.speech("prompt", reads_tags=True), tools_of(cells))
        return _fit(asked, carries_calls=carries_calls)
    except CellError as bad:
        return bad.at(item.where, item.raw)


def _fit(asked: Asked, *, carries_calls: bool) -> Asked:
    """The prompt as it is.

    Raises:
        CellError: it does not end with a question, or cannot be carried.
    """
    speech = asked.speech
    if isinstance(speech, str):
        return asked
    if speech[-1].role not in _ASKING:
        raise CellError(
            f"ends with the {speech[-1].role}'s turn",
            column="prompt",
            fix="end the prompt with a user's turn; the response follows it",
        )
    if any(turn.more for turn in speech) and not carries_calls:
        raise CellError(
            "has a turn with more than role and content, which pairs cannot carry",
            column="prompt",
            fix="write what a tool was asked and said as text",
        )
    return asked
