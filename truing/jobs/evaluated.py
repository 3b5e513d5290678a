"""What `truing evaluate` leaves in a run folder, below `evaluated/`: rows that can be compared."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from truing.errors import RowError
from truing.evaluation.generations import Generations, LogRatios
from truing.training import folder

FOLDER = "evaluated"
NUMBERS, PAIRS, TASKS = "evaluation.json", "pairs.jsonl", "tasks.json"
GENERATIONS, START = "generations.jsonl", "start.jsonl"
_DIGITS = 5  # of a log-ratio: a reader sees two


@dataclass(frozen=True)
class Spoken:
    """One response to one prompt.

    Args:
        prompt: its text.
        key: its name by content.
        number: which of the prompt's responses.
        text: what was said.
        tokens: ids, the end token included where it came.
        pieces: the text of each token.
        log_ratios: log(policy / reference) of each token, nats; () where not measured.
        logp: sum of the policy's own log-probs.
        finished: whether the end token came before the limit.
        score: a judge's number; None without one.
    """

    prompt: str
    key: str
    number: int
    text: str
    tokens: tuple[int, ...]
    pieces: tuple[str, ...]
    log_ratios: tuple[float, ...]
    logp: float
    finished: bool
    score: float | None


@dataclass(frozen=True)
class Generated:
    """Responses of one policy, and how they were asked for."""

    settings: Mapping[str, Any]
    responses: tuple[Spoken, ...]

    def table(self, keys: Sequence[str] | None = None) -> Generations:
        """One row a response; prompts numbered by `keys` (None: by first appearance)."""
        order = keys or list(dict.fromkeys(one.key for one in self.responses))
        places = {key: place for place, key in enumerate(order)}
        scores = [one.score for one in self.responses]
        has_scores = all(score is not None for score in scores)
        return Generations(
            length=np.array([len(one.tokens) for one in self.responses]),
            cut=np.array([not one.finished for one in self.responses]),
            score=np.array(scores, dtype=float) if has_scores else None,
            prompt=np.array([places[one.key] for one in self.responses]),
        )

    def log_ratios(self) -> LogRatios | None:
        """All tokens' log-ratios; None where they were not measured."""
        if not all(one.log_ratios for one in self.responses):
            return None
        lengths = [len(one.log_ratios) for one in self.responses]
        return LogRatios(
            np.concatenate([one.log_ratios for one in self.responses]),
            np.repeat(np.arange(len(lengths)), lengths),
        )

    def at(self, keys: Sequence[str]) -> "Generated":
        """The responses to some prompts only, in the order of the prompts."""
        by_key: dict[str, list[Spoken]] = {}
        for one in self.responses:
            by_key.setdefault(one.key, []).append(one)
        return Generated(self.settings, tuple(one for key in keys for one in by_key[key]))

    def only(self, places: "set[tuple[str, int]]") -> "Generated":
        """The responses of some prompts and numbers only."""
        kept = tuple(one for one in self.responses if (one.key, one.number) in places)
        return Generated(self.settings, kept)

    @property
    def keys(self) -> tuple[str, ...]:
        """Different prompts in order."""
        return tuple(dict.fromkeys(one.key for one in self.responses))


def write_generated(run: Path, name: str, generated: Generated) -> None:
    """Settings in the first line, then a response a line."""
    place = run / FOLDER
    place.mkdir(exist_ok=True)
    lines = [json.dumps({"settings": dict(generated.settings)}, ensure_ascii=False)]
    for one in generated.responses:
        values = asdict(one)
        values["log_ratios"] = [round(value, _DIGITS) for value in one.log_ratios]
        lines.append(json.dumps(values, ensure_ascii=False))
    folder.write_atomically(
        place / name, "\n".join(lines).encode("utf-8", "replace").decode() + "\n"
    )


def read_generated(run: Path, name: str) -> Generated | None:
    """What was written, or None where nothing was.

    Raises:
        RowError: the file is damaged.
    """
    path = run / FOLDER / name
    if not path.is_file():
        return None
    settings: dict[str, Any] = {}
    found: list[Spoken] = []
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(filter(None, lines)):
        try:
            values = json.loads(line)
            if number == 0:
                settings = dict(values["settings"])
                continue
            for column in ("tokens", "pieces", "log_ratios"):
                values[column] = tuple(values[column])
            found.append(Spoken(**values))
        except (ValueError, KeyError, TypeError) as error:
            raise RowError(
                "is no response as `truing evaluate` writes it",
                where=f"{path} line {number + 1}",
                fix=f"remove {run / FOLDER} and evaluate the run again",
            ) from error
    if not found:
        raise RowError("holds no response", where=str(path), fix="evaluate the run again")
    return Generated(settings, tuple(found))


@dataclass(frozen=True, eq=False)
class ScoredPairs:
    """What a run says of held-out pairs, a row each, to be set against another run's."""

    source: str
    key: tuple[str, ...]
    prompt: np.ndarray
    margin: np.ndarray | None
    policy_gap: np.ndarray
    length_difference: np.ndarray
    marks: str = ""
    """Of weights and rows; equal marks, equal numbers."""

    def __len__(self) -> int:
        """P."""
        return len(self.key)

    def at(self, keys: Sequence[str]) -> "ScoredPairs":
        """Some of the pairs, in this order."""
        places = {key: place for place, key in enumerate(self.key)}
        rows = np.array([places[key] for key in keys])
        return ScoredPairs(
            self.source,
            tuple(keys),
            self.prompt[rows],
            None if self.margin is None else self.margin[rows],
            self.policy_gap[rows],
            self.length_difference[rows],
            self.marks,
        )


def write_pairs(run: Path, pairs: ScoredPairs) -> None:
    """A line a pair."""
    place = run / FOLDER
    place.mkdir(exist_ok=True)
    lines = [json.dumps({"source": pairs.source, "marks": pairs.marks})]
    for i, key in enumerate(pairs.key):
        line = {
            "key": key,
            "prompt": int(pairs.prompt[i]),
            "margin": None if pairs.margin is None else float(pairs.margin[i]),
            "policy_gap": float(pairs.policy_gap[i]),
            "length_difference": int(pairs.length_difference[i]),
        }
        lines.append(json.dumps(line))
    folder.write_atomically(place / PAIRS, "\n".join(lines) + "\n")


def read_pairs(run: Path) -> ScoredPairs | None:
    """What was written, or None where nothing was.

    Raises:
        RowError: the file is damaged.
    """
    path = run / FOLDER / PAIRS
    if not path.is_file():
        return None
    try:
        head, *lines = [json.loads(x) for x in path.read_text(encoding="utf-8").split("\n") if x]
        margins = [line["margin"] for line in lines]
        return ScoredPairs(
            source=head["source"],
            key=tuple(line["key"] for line in lines),
            prompt=np.array([line["prompt"] for line in lines]),
            margin=None if None in margins else np.array(margins, dtype=float),
            policy_gap=np.array([line["policy_gap"] for line in lines], dtype=float),
            length_difference=np.array([line["length_difference"] for line in lines]),
            marks=head.get("marks", ""),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RowError(
            "is no list of scored pairs as `truing evaluate` writes it",
            where=str(path),
            fix=f"remove {run / FOLDER} and evaluate the run again",
        ) from error


def update_numbers(run: Path, found: Mapping[str, Any]) -> None:
    """Put new numbers beside those that lie there."""
    place = run / FOLDER
    place.mkdir(exist_ok=True)
    folder.write_json(place / NUMBERS, {**read_numbers(run), **found})


def read_numbers(run: Path) -> dict[str, Any]:
    """All numbers of earlier evaluations; {} where there are none."""
    path = run / FOLDER / NUMBERS
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except ValueError as error:
        raise RowError(
            "is no JSON object", where=str(path), fix=f"remove {path} and evaluate again"
        ) from error
