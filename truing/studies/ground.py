"""What a study stands on: the embedded world, or a model and pairs of the user's own.

Either way a study's rows, held-out pairs and prompts become files named by their content, so that
cells, samples of the start and the store of references find what is there already.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from truing.data import read_rows
from truing.data.rows import Row, text_of
from truing.data.writing import record_of
from truing.errors import ConfigError
from truing.responses.identity import weights_key
from truing.studies.study import Plan, Rows, Setting
from truing.training import folder
from truing.world import groups, model_folder, pairs, prompts
from truing.world.prompts import Kind, Split

WORLD_SCORE = "world()"
_SPLITS = (("train", 0.6), ("tuning", 0.8), ("test", 1.0))
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Ground:
    """Model, data and score of a study; all None: the embedded world.

    Args:
        model: a folder or hub name; None: the embedded start.
        data: pairs; None: the embedded world's, with all their dials.
        score: an expression such as "lexicon(path='lexicon.tsv')"; None: the world's true score,
            or none where the data is the user's.
        lora: train low-rank adapters.

    Raises:
        ConfigError: a model without data: the world's prompts say nothing to another model.
    """

    model: str | None = None
    data: str | None = None
    score: str | None = None
    lora: bool = False

    def __post_init__(self) -> None:
        if (self.model is None) != (self.data is None):
            raise ConfigError(
                "a model and its data go together: the embedded prompts are for the embedded model",
                where="study",
                fix="give both --model and --data, or neither",
            )
        if self.data is None and self.score is not None:
            raise ConfigError(
                "the embedded world has a score of its own",
                where="study --score",
                fix="leave --score out, or give --model and --data",
            )

    @property
    def is_world(self) -> bool:
        """Whether it is the embedded world."""
        return self.data is None

    @property
    def start(self) -> str:
        """The folder or name of the model that is trained."""
        return self.model or str(model_folder())

    @property
    def scored_by(self) -> str | None:
        """The expression of the score; None: there is none."""
        return WORLD_SCORE if self.is_world else self.score

    @cached_property
    def weights(self) -> str:
        """Which model it is, by content."""
        return weights_key(self.start)

    def missing(self, setting: Setting) -> str:
        """Why a setting cannot be had here; "" where it can."""
        if self.is_world:
            return ""
        rows, texts = setting.rows, json.dumps(dict(setting.keys))
        faults = {
            "the dial of length is the embedded world's": rows.length_bias > 0,
            "sets of responses are the embedded world's": rows.is_kwise,
            "the other embedded models read the embedded prompts": (
                "{stronger}" in texts or "{foreign}" in texts
            ),
            "there is no score (--score)": self.score is None
            and ("{score}" in texts or setting.best_of > 0),
        }
        return next((why for why, is_true in faults.items() if is_true), "")

    # ------------------------------------------------------------------ rows

    def rows(self, setting: Setting, plan: Plan, seed: int) -> list[Record]:
        """What a setting learns from with a seed.

        Raises:
            ConfigError: fewer rows than asked for; of the user's own data, none.
        """
        wanted = setting.rows
        count = wanted.count or plan.pairs
        if self.is_world and wanted.is_kwise:
            return [group.to_row() for group in groups("train", plan.kinds, count=count)]
        found = (
            self._world_pairs(wanted, plan.kinds, seed)
            if self.is_world
            else self._own(wanted, seed)
        )
        return self._first(found, count, "rows to learn from")

    def _world_pairs(self, wanted: Rows, kinds: tuple[Kind, ...], seed: int) -> list[Record]:
        found = pairs(
            "train",
            kinds=kinds,
            selection=wanted.selection,
            subset=wanted.subset,
            length_bias=wanted.length_bias,
            noise=wanted.noise,
            temperature=wanted.temperature,
            seed=seed,
        )
        return [_shifted(pair.to_row(), wanted.shift) for pair in found]

    def _own(self, wanted: Rows, seed: int) -> list[Record]:
        found = []
        for row, record in self._split("train"):
            longer = len(text_of(row.responses[0])) - len(text_of(row.responses[1]))
            if wanted.subset == "all" or longer * (1 if wanted.subset == "longer" else -1) > 0:
                turns = Random(f"label, {seed}, {row.id}").random() < wanted.noise
                found.append(_turned(record) if turns else record)
        Random(f"order, {seed}").shuffle(found)
        return found

    def held(self, plan: Plan) -> list[Record]:
        """Pairs that nobody learns from; in the world their labels are true."""
        if self.is_world:
            true = pairs("test", kinds=plan.kinds, temperature=0.0)
            return self._first([pair.to_row() for pair in true], plan.held, "held-out pairs")
        return self._first([r for _, r in self._split("test")], plan.held, "held-out pairs")

    def tuning_pairs(self, plan: Plan) -> list[Record]:
        """Pairs by which values are chosen where there is no score."""
        return self._first([r for _, r in self._split("tuning")], plan.held, "pairs to tune on")

    def prompts(self, split: Split, plan: Plan, count: int) -> list[Record]:
        """Prompts of a split, each once."""
        if self.is_world:
            found: list[Record] = [{"prompt": one.text} for one in prompts(split, plan.kinds)]
        else:
            by_text = {text_of(row.prompt): record for row, record in self._split(split)}
            found = [{"prompt": record["prompt"]} for record in by_text.values()]
        return self._first(found, count, f"{split} prompts")

    def _first(self, found: Sequence[Record], count: int, what: str) -> list[Record]:
        """So many of the world's; of the user's own as many as there are, up to so many."""
        least = count if self.is_world else 1
        if len(found) < least:
            raise ConfigError(
                f"{count} {what} are asked for, and there are {len(found)}",
                where="study",
                fix="take a smaller --scale, or give more data",
            )
        return list(found[:count])

    @staticmethod
    def texts(records: Sequence[Record]) -> list[Record]:
        """The chosen responses as texts to be learned."""
        return [{"prompt": one["prompt"], "completion": one["chosen"]} for one in records]

    def _split(self, split: Split) -> list[tuple[Row, Record]]:
        return self._parted[split]

    @cached_property
    def _parted(self) -> Mapping[str, list[tuple[Row, Record]]]:
        """Pairs by split; all rows of a prompt are in one."""
        found: dict[str, list[tuple[Row, Record]]] = {name: [] for name, _ in _SPLITS}
        for row in read_rows(str(self.data)):
            if row.kind != "pair" or len(row.responses) != 2:
                continue
            digest = hashlib.sha256(text_of(row.prompt).encode()).digest()
            share = int.from_bytes(digest[:4]) / 2**32
            name = next(name for name, end in _SPLITS if share < end)
            found[name].append((row, record_of(row, "pair")))
        return found


def _shifted(record: Record, shift: float) -> Record:
    """Both scores moved up by as much."""
    scores = ("score_chosen", "score_rejected")
    moved = {name: round(record[name] + shift, 4) for name in scores if name in record}
    return {**record, **moved}


def _turned(record: Record) -> Record:
    """The same pair with the other label."""
    names = {"chosen": "rejected", "rejected": "chosen"}
    names |= {f"score_{one}": f"score_{other}" for one, other in names.items()}
    return {names.get(key, key): value for key, value in record.items()}


# ------------------------------------------------------------------ files by content


def stored(records: Iterable[Record], place: Path) -> tuple[Path, str]:
    """Write records where they do not lie yet; the file, and its name by content."""
    text = "".join(
        json.dumps(record, ensure_ascii=False, sort_keys=True) + "\n" for record in records
    )
    key = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    path = place / f"{key}.jsonl"
    if not path.exists():
        place.mkdir(parents=True, exist_ok=True)
        folder.write_atomically(path, text)
    return path, key


def facts(records: Sequence[Record], tokenizer: Any) -> dict[str, float]:
    """What can be said of pairs of plain texts before training; {} of other rows.

    data_longer_wins: share of pairs of unlike length whose chosen response has more tokens.
    data_end_push: what drawing as many tokens of the longer side as of the shorter leaves of the
    push on the end token, mean of m/|chosen| - m/|rejected| with m the shorter length: the chosen
    side's end token is kept with the first chance and raised, the rejected side's with the second
    and lowered. 0 in DPO; below 0 the sum of pushes says "go on".
    """
    if not records or not all(isinstance(r.get("chosen"), str) for r in records):
        return {}
    chosen, rejected = (
        np.array([len(ids) + 1 for ids in tokenizer([r[side] for r in records])["input_ids"]])
        for side in ("chosen", "rejected")
    )
    shorter = np.minimum(chosen, rejected)
    unlike = chosen != rejected
    return {
        "data_pairs": float(len(records)),
        "data_longer_wins": float((chosen > rejected)[unlike].mean()) if unlike.any() else 0.5,
        "data_end_push": float((shorter / chosen - shorter / rejected).mean()),
        "data_length_chosen": float(chosen.mean()),
        "data_length_rejected": float(rejected.mean()),
    }
