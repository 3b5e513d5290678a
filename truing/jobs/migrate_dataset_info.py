"""LLaMA-Factory's names of data sets: the file behind each, and what its columns are called."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from truing.data.cells import ROLES
from truing.jobs.migrate_found import Found

# Its words for the columns of a data set -> Truing's names of the same.
_ALPACA: Mapping[str, str] = {"prompt": "instruction", "query": "input", "response": "output"}
_SHAREGPT: Mapping[str, str] = {"messages": "conversations"}
_TAGS: Mapping[str, str] = {"role_tag": "role", "content_tag": "content"}
# Names that are read without being said.
_READ: Mapping[str, frozenset[str]] = {
    "conversations": frozenset({"conversations", "messages"}),
    "kto_tag": frozenset({"kto_tag", "label"}),
    "role": frozenset({"role", "from"}),
    "content": frozenset({"content", "value"}),
}
_HUBS = ("hf_hub_url", "ms_hub_url", "om_hub_url")
_SAID = frozenset({"file_name", "formatting", "ranking", "columns", "tags", *_HUBS})


@dataclass(frozen=True)
class NamedData:
    """One data set that a file of arguments names.

    Args:
        path: its file or hub name.
        columns: Truing's name of a column -> the name in the file, where they differ.
    """

    path: str
    columns: Mapping[str, str]


def take_data(found: Found) -> None:
    """`data`, `columns` and `evaluation.data` of the data sets that are named."""
    arguments = found.arguments
    folder = Path(str(arguments.take("dataset_dir", "data")))
    known = _known(folder)
    trained, held = (
        [_named(found, folder, known, name) for name in _names(arguments.take(key))]
        for key in ("dataset", "eval_dataset")
    )
    if not trained:
        found.note("no equal", "data", "no dataset is named", "give --data, or write `data:`")
    else:
        paths = [one.path for one in trained]
        found.keys["data"] = paths[0] if len(paths) == 1 else paths
    if held:
        found.keys["evaluation"] = {"data": held[0].path}
        for more in held[1:]:
            found.note("no equal", f"eval_dataset={more.path}", "a second one", "`truing evaluate`")
    _take_columns(found, [*trained, *held[:1]])


def _take_columns(found: Found, used: Sequence[NamedData]) -> None:
    """One mapping of columns serves all files of a run."""
    if not any(one.columns for one in used):
        return
    if all(one.columns == used[0].columns for one in used):
        found.keys["columns"] = dict(used[0].columns)
        return
    for one in used:
        if one.columns:
            found.note(
                "no equal",
                f"columns of {one.path}",
                f"are {json.dumps(one.columns)}, and other data sets have other names",
                "rename the columns, so that one `columns` serves all",
            )


def _names(value: Any) -> list[str]:
    names = value.split(",") if isinstance(value, str) else (value or [])
    return [str(name).strip() for name in names]


def _known(folder: Path) -> Mapping[str, Any]:
    try:
        found = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _named(found: Found, folder: Path, known: Mapping[str, Any], name: str) -> NamedData:
    """What stands behind a name of dataset_info.json."""
    entry = known.get(name)
    if not isinstance(entry, dict):
        found.note(
            "no equal",
            f"dataset={name}",
            f"{folder / 'dataset_info.json'} has no such entry",
            "write the path of its file under `data`",
        )
        return NamedData(name, {})
    for key, value in entry.items():
        if key not in _SAID and value is not None:
            found.note(
                "no equal", f"{name}.{key}={value}", "of dataset_info.json", "apply it to the rows"
            )
    hubs = [str(entry[hub]) for hub in _HUBS if hub in entry]
    path = str(folder / entry["file_name"]) if "file_name" in entry else next(iter(hubs), name)
    return NamedData(path, _columns(found, name, entry))


def _columns(found: Found, name: str, entry: Mapping[str, Any]) -> dict[str, str]:
    """The columns whose names Truing does not read by itself."""
    words = _SHAREGPT if entry.get("formatting") == "sharegpt" else _ALPACA
    named = {words.get(word, word): column for word, column in _block(entry, "columns").items()}
    for tag, value in _block(entry, "tags").items():
        if tag in _TAGS:
            named[_TAGS[tag]] = value
        elif value not in ROLES:
            fix = "rename it in the rows: user, assistant, system"
            found.note("no equal", f"{name}.tags.{tag}={value}", "who speaks", fix)
    return {
        ours: str(theirs) for ours, theirs in named.items() if theirs not in _READ.get(ours, {ours})
    }


def _block(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    block = entry.get(key)
    return block if isinstance(block, dict) else {}
