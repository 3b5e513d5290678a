"""What of a run may leave the machine: names of files and folders, and not where they lay."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from truing.config import RunConfig
from truing.engine.adapters import DESCRIPTION, base_of
from truing.errors import ConfigError

_BASE = "base_model_name_or_path"
_QUOTED = re.compile(r"""(?P<mark>["'])(?P<text>.*?)(?P=mark)""")
_LONGEST_PATH = 500  # letters; what is longer is text


def hub_name(model: str) -> str | None:
    """The model's name where it is one of the hub; paths of a machine are nobody else's."""
    base = base_of(model)
    return None if is_local(base) else base


def is_local(text: str) -> bool:
    """Whether it names a place on this machine."""
    if text.startswith(("/", ".", "~")):
        return True
    return 0 < len(text) < _LONGEST_PATH and "\n" not in text and Path(text).exists()


def without_places(value: Any) -> Any:
    """The same value; every local path in it, inside expressions too, is its last part alone."""
    if isinstance(value, Mapping):
        return {key: without_places(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_places(inner) for inner in value]
    if not isinstance(value, str):
        return value
    if is_local(value):
        return Path(value).name
    return _QUOTED.sub(lambda m: f"{m['mark']}{without_places(m['text'])}{m['mark']}", value)


def public_config(config: RunConfig, base: str) -> str:
    """The configuration as YAML; `base` is the hub name of the model it was trained from, or ""."""
    values = without_places(config.model_dump(mode="json"))
    values["model"] = base or hub_name(config.model) or Path(config.model).name
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def public_adapter(run: Path, base: str) -> str:
    """The description of a run's adapters, with a base that others can load.

    Args:
        run: a folder of adapters.
        base: hub name of what they stand on; "": as the run calls it.

    Raises:
        ConfigError: they stand on weights that nobody else has.
    """
    description = json.loads((run / DESCRIPTION).read_text(encoding="utf-8"))
    stands_on = str(description[_BASE])
    if Path(stands_on).resolve().parent == run.resolve():
        raise ConfigError(
            f"the adapters stand on weights of the run's own ({stands_on}), on no model of the hub",
            where="--adapters",
            fix="leave it out: base and adapters are then written as one model",
        )
    if not is_local(stands_on):
        return _written(description)
    if not base:
        raise ConfigError(
            f"the adapters stand on a folder that nobody else has, {stands_on}",
            where="--adapters",
            fix="name the same model on the hub, --base OWNER/NAME, or leave --adapters out",
        )
    return _written({**description, _BASE: base})


def _written(description: Mapping[str, Any]) -> str:
    return json.dumps(description, indent=2, sort_keys=True) + "\n"
