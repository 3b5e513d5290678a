"""From what the user names as data (files, folders, hub names, iterables) to open files."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from truing.data.files import SUFFIXES, DataFile, in_memory, open_file
from truing.errors import ConfigError, RowError

_HUB = re.compile(r"^[\w.-]+(/[\w.-]+)?(:[\w.-]+)?(:[\w.-]+)?$")
_TRAIN = re.compile(r"(^|[-_.])train", re.IGNORECASE)
_HELD = re.compile(r"(^|[-_.])(test|valid|validation|eval|dev)([-_.]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """Data with a weight in a mixture.

    Args:
        path: a file, a folder, or a `datasets` name (`owner/name`, `name:split`,
            `name:configuration:split`).
        weight: how often each row is taken: 1 once, 2 twice (as two occurrences), 0.5 about half
            of the rows, which half depends on their content alone.
    """

    path: str | Path
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.weight < 1000:
            raise ConfigError(
                f"has the weight {self.weight}", where=str(self.path), fix="give 0 < weight < 1000"
            )


Data: TypeAlias = str | Path | Source | Mapping[str, Any] | Iterable[Any]
"""Whatever `prepare` and `read_rows` accept as data."""


def open_sources(data: Data) -> Iterator[tuple[DataFile, float]]:
    """Every file of the data with its weight, in the order given (folders by name).

    Raises:
        RowError: something is not there or cannot be opened.
        ConfigError: a weight or a mapping that says nothing.
    """
    if isinstance(data, str | Path):
        data = Source(data)
    if isinstance(data, Source):
        yield from ((file, data.weight) for file in _open(data.path))
    elif isinstance(data, Mapping):
        yield from open_sources(_from_mapping(data))
    elif _is_list_of_sources(data):
        for item in data:
            yield from open_sources(item)
    else:
        yield in_memory(data, "rows in memory"), 1.0


def _is_list_of_sources(data: Iterable[Any]) -> bool:
    if not isinstance(data, Sequence) or not data:
        return False
    first = data[0]
    is_described = isinstance(first, Mapping) and set(first) <= {"path", "weight"}
    return isinstance(first, str | Path | Source) or (is_described and bool(first))


def _from_mapping(data: Mapping[str, Any]) -> Source:
    if "path" not in data or not set(data) <= {"path", "weight"}:
        keys = ", ".join(map(str, data))
        raise ConfigError(
            f"has the keys {keys}; a source has `path` and `weight`",
            where="data",
            fix="write {path: FILE, weight: 0.5}; of a DatasetDict give one split",
        )
    return Source(data["path"], float(data.get("weight", 1.0)))


def _open(source: str | Path) -> Iterator[DataFile]:
    path = Path(source).expanduser()
    if path.is_dir():
        yield from _folder(path, str(source))
    elif path.exists():
        yield open_file(path, str(source))
    else:
        yield _hub(str(source))


def _folder(folder: Path, name: str) -> Iterator[DataFile]:
    if (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file():
        import datasets

        yield in_memory(datasets.load_from_disk(str(folder)), name)
        return
    if (folder / "dataset_dict.json").is_file():
        splits = ", ".join(sorted(item.name for item in folder.iterdir() if item.is_dir()))
        raise RowError(
            f"holds several splits: {splits}", where=name, fix=f"name one, for instance {name}/..."
        )
    paths = sorted(path for path in folder.rglob("*") if _is_data(path, folder))
    if not paths:
        raise RowError(
            "holds no data file",
            where=name,
            fix=f"give a folder with files of the kinds {', '.join(SUFFIXES)} (or these with .gz)",
        )
    held = [path.name for path in paths if _HELD.search(path.name)]
    if held and any(_TRAIN.search(path.name) for path in paths):
        raise RowError(
            f"holds training rows and held-out rows ({', '.join(held[:5])})",
            where=name,
            fix="name the files that are meant, so that no test row is trained on",
        )
    for path in paths:
        yield open_file(path, str(Path(name) / path.relative_to(folder)))


def _is_data(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    is_described = path.name in {"dataset_info.json", "dataset_infos.json"}
    is_visible = not any(part.startswith((".", "_")) for part in parts)
    return (
        path.is_file()
        and is_visible
        and not is_described
        and suffixes[-1:] != []
        and (suffixes[-1] in SUFFIXES)
    )


def _hub(name: str) -> DataFile:
    """A data set that the `datasets` library knows; streamed as it gives it.

    Raises:
        RowError: there is neither such a file nor such a data set.
    """
    looks_like_file = Path(name.removesuffix(".gz")).suffix.lower() in SUFFIXES
    if looks_like_file or not _HUB.match(name):
        raise RowError("there is no such file or folder", where=name, fix="give the path of a file")
    import datasets
    from datasets.exceptions import DatasetsError

    path, *rest = name.split(":")
    configuration = rest[0] if len(rest) == 2 else None
    split = rest[-1] if rest else "train"
    try:
        table = datasets.load_dataset(path, configuration, split=split)
    except (OSError, ValueError, DatasetsError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise RowError(
            "there is no such file or folder, and no data set of that name can be loaded "
            f"({first_line[:160]})",
            where=name,
            fix="give the path of a file, or owner/name:split of a data set that can be reached",
        ) from error
    return in_memory(table, name)
