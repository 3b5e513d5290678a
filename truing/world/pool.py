"""What the start said: several responses to each of thousands of prompts, kept in the package.

So pairs and groups are there at once, the same everywhere, and no study samples them again. The
responses are those of `truing.responses.sample` with seed 0 (`python -m truing.jobs.world` draws
them anew): a policy that is asked the same prompts with the same seed sees the same noise.
"""

import json
import lzma
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from truing.errors import ConfigError
from truing.world.models import model_folder
from truing.world.prompts import KINDS, Kind, Prompt, Split, prompts
from truing.world.scoring import score

RESPONSES: dict[str, int] = {"train": 4, "tuning": 4, "test": 2}
"""Responses of each prompt; of the prompts to train on, the first 1,000 of each kind are asked."""
PROMPTS: dict[str, int] = {"train": 1000, "tuning": 150, "test": 600}
SEED = 0


@dataclass(frozen=True)
class Candidate:
    """One response with its score.

    Args:
        text: without the end token.
        finished: whether the end token came before the cap.
        score: what it is worth, see `truing.world.score`.
    """

    text: str
    finished: bool
    score: float

    @property
    def words(self) -> int:
        """Its length, the same for every tokenizer."""
        return len(self.text.split())


@dataclass(frozen=True)
class Group:
    """A prompt with its K responses, in the order in which they were drawn."""

    prompt: Prompt
    candidates: tuple[Candidate, ...]

    def to_row(self) -> dict[str, object]:
        """As a K-wise row of a file of preferences; responses that were cut are left out."""
        whole = [one for one in self.candidates if one.finished]
        return {
            "prompt": self.prompt.text,
            "responses": [one.text for one in whole],
            "scores": [round(one.score, 4) for one in whole],
        }


def asked(split: Split, kind: Kind) -> tuple[Prompt, ...]:
    """The prompts of one kind to which the package has responses of the start."""
    return prompts(split, (kind,))[: PROMPTS[split]]


def groups(
    split: Split, kinds: tuple[Kind, ...] = KINDS, *, count: int | None = None
) -> tuple[Group, ...]:
    """Prompts with the responses of the start, kinds in turn.

    Args:
        split: of the prompts.
        kinds: of prompts.
        count: only the first so many; None: all, 1,000 of each kind to train on, 150 to tune on
            and 600 to test on.

    Raises:
        ConfigError: no such split or kind, a kind named twice, or fewer groups than asked for.
    """
    prompts(split, kinds)  # says what is wrong with a name
    turns = zip(*(_of_kind(split, kind) for kind in kinds), strict=True)
    found = tuple(group for turn in turns for group in turn)
    return found[: checked_count(count, len(found), "groups")]


def checked_count(count: int | None, there: int, what: str) -> int | None:
    """The count, if so many are there.

    Raises:
        ConfigError: there are fewer.
    """
    if count is not None and not 0 < count <= there:
        raise ConfigError(
            f"{count} {what} are asked for, and there are {there}",
            where="world",
            fix=f"ask for 1 to {there}, or for more kinds of prompts",
        )
    return count


@cache
def _of_kind(split: Split, kind: Kind) -> tuple[Group, ...]:
    kept = json.loads(lzma.decompress(pool_file(split, kind).read_bytes()))
    return tuple(
        Group(
            prompt,
            tuple(
                Candidate(text, bool(finished), score(prompt, text, finished=bool(finished)))
                for text, finished in zip(texts, ends, strict=True)
            ),
        )
        for prompt, texts, ends in zip(
            asked(split, kind), kept["responses"], kept["finished"], strict=True
        )
    )


def pool_file(split: Split, kind: Kind, folder: Path | None = None) -> Path:
    """Where the responses to prompts of one split and kind lie."""
    return (folder or model_folder("start") / "pool") / f"{split}-{kind}.json.xz"


def write_pool(path: Path, responses: Iterable[Iterable[tuple[str, bool]]]) -> None:
    """Write the responses (text, finished) to the prompts of `asked`, in their order."""
    drawn = [list(group) for group in responses]
    kept = {
        "responses": [[text for text, _ in group] for group in drawn],
        "finished": [[int(finished) for _, finished in group] for group in drawn],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
    path.write_bytes(lzma.compress(text.encode(), preset=9))
