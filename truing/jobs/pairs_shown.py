"""`truing pairs show` and `stats`: what a manifest holds, row by row and in numbers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from truing.errors import ConfigError
from truing.jobs.pairs import COST, RESULT, counted
from truing.pairs import MANIFEST, ROWS


@dataclass(frozen=True)
class ShownRow:
    """One prompt of a manifest with its responses, best first."""

    number: int
    prompt: str
    responses: tuple[tuple[float | None, int | None, bool, str], ...]
    faults: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        names = ("score", "tokens", "finished", "text")
        return {
            "row": self.number,
            "prompt": self.prompt,
            "responses": [dict(zip(names, one, strict=True)) for one in self.responses],
            "faults": list(self.faults),
        }


def show_pairs(output: str | Path, *, first: int = 1, rows: int = 3) -> list[ShownRow]:
    """Some prompts of a manifest, counted from 1, with all that was said and its scores.

    Raises:
        ConfigError: there is no manifest, or it has no such row.
    """
    shown: list[ShownRow] = []
    number = 0
    for shard in _shards_of(Path(output)):
        table = parquet.read_table(shard)
        start = max(first - 1 - number, 0)
        for row in table.slice(start, rows - len(shown)).to_pylist() if start < len(table) else ():
            shown.append(_shown(number + start + 1, row))
            start += 1
        number += len(table)
        if len(shown) == rows:
            break
    if not shown:
        raise ConfigError(
            f"there is no row {first}", where=str(output), fix=f"there are {number} rows"
        )
    return shown


def _shown(number: int, row: Mapping[str, Any]) -> ShownRow:
    told = zip(row["scores"], row["tokens"], row["finished"], row["responses"], strict=True)
    ranked = sorted(told, key=lambda one: (one[0] is None, -(one[0] or 0.0)))
    return ShownRow(number, row["prompt"], tuple(ranked), tuple(row["faults"]))


def _shards_of(output: Path) -> list[Path]:
    try:
        result = json.loads((output / RESULT).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            "holds no finished manifest", where=str(output), fix="run `truing pairs build` first"
        ) from error
    return [output / MANIFEST / name for name in result[MANIFEST]]


def pairs_stats(output: str | Path) -> dict[str, Any]:
    """What a manifest holds in numbers: counts, scores, lengths, and what length does to scores.

    Raises:
        ConfigError: there is no manifest.
    """
    output = Path(output)
    shards = _shards_of(output)
    counts, faults = counted(shards)
    manifest = pa.concat_tables(
        parquet.read_table(shard, columns=["scores", "tokens"]) for shard in shards
    )
    scores = _flat(manifest, "scores")
    tokens = _flat(manifest, "tokens")
    known = np.isfinite(scores) & np.isfinite(tokens)
    facts = json.loads((output / RESULT).read_text(encoding="utf-8"))
    cost = output / COST
    return {
        "sampler": facts["sampler"],
        "scorer": facts["scorer"],
        "select": facts["select"],
        "rows": facts["rows"],
        **counts,
        "score": _summary(scores),
        "tokens": _summary(tokens),
        "score and length, correlation": _correlation(scores[known], tokens[known]),
        **_of_rows(output / ROWS),
        "faults": faults,
        "cost": json.loads(cost.read_text(encoding="utf-8")) if cost.exists() else {},
    }


def _flat(table: pa.Table, name: str) -> np.ndarray:
    values = table.column(name).combine_chunks().flatten().cast(pa.float64())
    return values.to_numpy(zero_copy_only=False).astype(float)


def _summary(values: np.ndarray) -> dict[str, float] | None:
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, middle, high = np.quantile(known, (0.05, 0.5, 0.95))
    return {
        "mean": float(known.mean()),
        "5 %": float(low),
        "median": float(middle),
        "95 %": float(high),
    }


def _correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    if len(one) < 3 or not one.std() or not other.std():
        return None
    return float(np.corrcoef(one, other)[0, 1])


def _of_rows(path: Path) -> dict[str, Any]:
    """The gap of the pairs, and how often the chosen one is the longer."""
    if not path.exists() or "chosen" not in parquet.read_schema(path).names:
        return {}
    names = ["score_chosen", "score_rejected", "chosen", "rejected"]
    table = parquet.read_table(path, columns=names)
    gap = (table.column(0).to_numpy() - table.column(1).to_numpy()).astype(float)
    if not pa.types.is_string(table.schema.field("chosen").type):
        return {"score gap of pairs": _summary(gap)}
    from pyarrow import compute

    pc: Any = compute  # its functions are made at run time
    longer = pc.greater(
        pc.utf8_length(table.column("chosen")), pc.utf8_length(table.column("rejected"))
    )
    share = pc.mean(longer).as_py()
    return {"score gap of pairs": _summary(gap), "chosen has more characters": share}
