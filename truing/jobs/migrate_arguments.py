"""Another trainer's arguments as they were written: YAML, JSON, or a command line."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from truing.errors import ConfigError

METHODS = ("dpo", "kto", "cpo", "orpo")
# What is taken of a launcher, and what it is called from here on.
_OF_LAUNCHERS: Mapping[str, str] = {
    "num_processes": "num_processes",
    "nproc_per_node": "num_processes",
    "config_file": "accelerate_config",
}
_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass
class Arguments:
    """Names and values, of which those are taken out that something was made of.

    Args:
        values: what is left.
        source: where it was written, for messages.
        method: `dpo`, `kto` ... where the command line tells it.
    """

    values: dict[str, Any]
    source: str
    method: str | None = None
    _taken: set[str] = field(default_factory=set)

    def take(self, name: str, default: Any = None) -> Any:
        """The value, which then counts as said; the default where it is not given or null."""
        self._taken.add(name)
        value = self.values.pop(name, None)
        return default if value is None else value

    def has(self, name: str) -> bool:
        """Whether it is given and not yet taken."""
        return name in self.values


def read_file(path: Path) -> Arguments:
    """The mapping in a YAML or JSON file.

    Raises:
        ConfigError: it cannot be read, or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        loaded = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror})", where=str(path), fix="give a YAML or JSON file"
        ) from error
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            "is neither YAML nor JSON", where=str(path), fix="mend the file"
        ) from error
    if not isinstance(loaded, dict) or not loaded:
        raise ConfigError("holds no arguments", where=str(path), fix="write `name: value` lines")
    return Arguments({str(k): _plain(v) for k, v in loaded.items()}, str(path))


def read_command(text: str) -> Arguments:
    """The arguments of a command line such as `trl dpo --beta 0.1` or `... dpo.py --beta 0.1`.

    A `--config FILE` within it is read first. What stands before the script belongs to a launcher;
    of that the number of processes and accelerate's configuration are taken.

    Raises:
        ConfigError: no argument is there, a quotation has no end, or the file of `--config` cannot
            be read.
    """
    try:
        words = shlex.split(text.replace("\\\n", " "))
    except ValueError as error:
        raise ConfigError("a quotation has no end", where="--args", fix="close it") from error
    start, method = _program(words)
    given = dict(_pairs(words[start:]))
    launcher = dict(_pairs(words[:start]))
    if not given:
        raise ConfigError(
            "there is no argument in it", where="--args", fix='write --args "--beta 0.1 ..."'
        )
    values: dict[str, Any] = {}
    if "config" in given:
        values = read_file(Path(str(given.pop("config")))).values
    for name, ours in _OF_LAUNCHERS.items():
        if name in launcher:
            # Behind the last flag's value stand the program's own words.
            value = launcher[name]
            values[ours] = value[0] if isinstance(value, list) else value
    return Arguments({**values, **given}, "--args", method)


def _program(words: Sequence[str]) -> tuple[int, str | None]:
    """Behind which word the arguments begin, and the method that the program's name tells."""
    for number, word in reversed(list(enumerate(words))):
        name = Path(word).name.removesuffix(".py")
        is_script = word.endswith(".py") and name != "__main__"
        before = Path(words[number - 1]).name if number else ""
        is_verb = word in METHODS and before == "trl"
        if is_script or is_verb or before == "-m":
            method = next((one for one in METHODS if one in re.split(r"\W|_", name)), None)
            return number + 1, method
    return 0, None


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """`--name value ...`, `--name=value`, `--flag` and `--no_flag`."""
    name: str | None = None
    values: list[str] = []
    for word in [*words, "--"]:
        if not word.startswith("--"):
            values.append(word)
            continue
        if name is not None:
            yield _named(name, values)
        name, equals, value = word.removeprefix("--").replace("-", "_").partition("=")
        if equals:
            value = word.partition("=")[2]
        values = [value] if equals else []


def _named(name: str, values: Sequence[str]) -> tuple[str, Any]:
    if values:
        plain = [_plain(value) for value in values]
        return name, plain[0] if len(plain) == 1 else plain
    return (name.removeprefix("no_"), False) if name.startswith("no_") else (name, True)


_WORDS: Mapping[str, Any] = {"true": True, "false": False, "none": None, "null": None}


def _plain(value: Any) -> Any:
    """Texts that are numbers, booleans, or JSON, as what they are; YAML reads 5e-7 as a text."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return _of_text(value) if isinstance(value, str) else value


def _of_text(text: str) -> Any:
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    if text[:1] in {"{", "["}:
        try:
            return _plain(json.loads(text))
        except ValueError:
            return text
    return _WORDS.get(text.lower(), text)
