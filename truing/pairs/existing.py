"""Responses that somebody has sampled already, as a sampler."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from truing.core.progress import SILENT, Progress
from truing.data import read_rows
from truing.data.rows import Row, Speech, text_of
from truing.engine.models import load_tokenizer
from truing.pairs.prompts import Prompts, distinct
from truing.responses.groups import Asked, Group, Said
from truing.responses.samplers import OpenSampler, Sampler


@dataclass(frozen=True, repr=False)
class Folder(Sampler):
    """Responses out of files: K-wise rows (`prompt`, `responses`, perhaps `scores`), or pairs.

    Rows of one prompt are put together. Without other prompts, all of the files' are taken.

    Args:
        path: file, folder or data-set name.
    """

    word: ClassVar[str] = "folder"
    path: str

    @property
    def num_responses(self) -> int:
        """See `Sampler`."""
        return 0

    @property
    def draws(self) -> bool:
        """See `Sampler`."""
        return False

    @property
    def may_cut(self) -> bool:
        """See `Sampler`; nobody says where they ended, so all count as whole."""
        return False

    def key(self) -> str:
        """See `Sampler`."""
        return f"folder {content_key(self.path)}"

    def opened(self, policy: str) -> OpenSampler:
        """See `Sampler`; the policy's tokenizer counts the tokens, without one nobody does."""
        tokenizer: Any = load_tokenizer(policy) if policy else None
        return _Existing(_groups(self.path), tokenizer)

    def prompts(self) -> Prompts:
        """What was asked, in the order of the files.

        Raises:
            RowError: malformed rows, or none.
        """
        groups = _groups(self.path)
        return distinct(groups, len(groups), self.path)


class _Existing(OpenSampler):
    def __init__(self, groups: dict[Asked, tuple[Said, ...]], tokenizer: Any) -> None:
        self._groups, self._tokenizer = groups, tokenizer

    def __call__(
        self, prompts: Sequence[Asked], *, seed: int, progress: Progress = SILENT
    ) -> list[Group]:
        del seed
        found = [Group(prompt, self._groups.get(prompt, ())) for prompt in prompts]
        if self._tokenizer is None:
            return found
        texts = [said.text for group in found for said in group.responses]
        ids = self._tokenizer(texts, add_special_tokens=False).input_ids if texts else []
        counts = iter(len(one) + 1 for one in ids)
        return [
            Group(
                group.prompt,
                tuple(Said(s.text, next(counts), s.finished, s.score) for s in group.responses),
            )
            for group in found
        ]


@lru_cache(maxsize=1)
def _groups(path: str) -> dict[Asked, tuple[Said, ...]]:
    found: dict[Asked, tuple[Said, ...]] = {}
    for row in read_rows(path):
        prompt = Asked(row.prompt, row.tools)
        found[prompt] = (*found.get(prompt, ()), *_said(row))
    return found


def _said(row: Row) -> Iterator[Said]:
    scores = row.scores or (None,) * len(row.responses)
    for speech, score in zip(row.responses, scores, strict=True):
        yield Said(_words(speech), None, finished=True, score=score)


def _words(speech: Speech) -> str:
    """A response's text; of several turns the last one's."""
    return speech if isinstance(speech, str) else text_of(speech[-1:])


def content_key(path: str) -> str:
    """Sixteen hexadecimal digits of a file, or of all files of a folder; else of the name."""
    place = Path(path).expanduser()
    files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
    if not place.exists():
        return sha256(path.encode()).hexdigest()[:16]
    digest = sha256()
    for file in files:
        digest.update(sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]
