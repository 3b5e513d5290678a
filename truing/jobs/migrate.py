"""`truing migrate`: another trainer's arguments as a run file, with a word on what has no equal.

Nothing is dropped in silence: every argument becomes a key, a field of the `trainer` block, or a
note. Notes stand in the file, too, above the keys.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from truing.config import RunConfig, build_config
from truing.errors import ConfigError
from truing.jobs.migrate_arguments import METHODS, read_command, read_file
from truing.jobs.migrate_factory import MARKS, from_factory
from truing.jobs.migrate_found import Found, Note, whole_of
from truing.jobs.migrate_trl import OF_LOSS, OF_METHOD, from_trl
from truing.training.folder import write_atomically

_MEANINGS = {
    "no equal": "not taken over",
    "changed": "said in another way",
    "default": "not given; the default there is not the default here",
}


@dataclass(frozen=True)
class Migration:
    """A run file that was made of another trainer's arguments.

    Args:
        text: the file, notes above the keys.
        keys: what it holds.
        notes: one for each argument that needs a word.
        origin: what was read, in words.
    """

    text: str
    keys: Mapping[str, Any]
    notes: tuple[Note, ...]
    origin: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "origin": self.origin,
            "keys": dict(self.keys),
            "notes": [vars(note) for note in self.notes],
        }


def migrate(
    source: str | Path | None = None,
    *,
    command: str | None = None,
    method: str | None = None,
    devices: int | None = None,
    keys: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
) -> Migration:
    """A run file from TRL's or LLaMA-Factory's arguments.

    Args:
        source: a YAML or JSON file of arguments.
        command: a command line in its place.
        method: `dpo`, `kto`, `cpo` or `orpo`, where neither the command nor the arguments tell.
        devices: processes that each had a batch; None: what the command's launcher says, or 1.
        keys: of the run file, over what is found (`model`, `data` ...).
        output: where the file is written; None: nowhere.

    Raises:
        ConfigError: nothing to read, an argument of the loss that no objective equals, or an
            output file that is there already.
    """
    if (source is None) == (command is None):
        raise ConfigError(
            "the arguments are given twice" if source else "the arguments are missing",
            where="truing migrate",
            fix='give a FILE, or --args "..."',
        )
    if output is not None and Path(output).exists():
        raise ConfigError("is there already", where=str(output), fix="give another name")
    arguments = read_file(Path(source)) if source is not None else read_command(str(command))
    found = Found(arguments)
    origin = _say(found, method, _processes(found, devices))
    _refuse_unknown(found)
    if found.trainer:
        found.keys["trainer"] = found.trainer
    found.keys |= dict(keys or {})
    missing = {name: "to-be-named" for name in ("model", "data", "output")}
    build_config({**missing, **found.keys}, where="the migrated run file")
    ordered = {name: found.keys[name] for name in RunConfig.model_fields if name in found.keys}
    # A missing model or data set is a note until the caller names it.
    notes = tuple(note for note in found.notes if note.argument not in (keys or {}))
    text = _text(ordered, notes, origin, arguments.source)
    if output is not None:
        write_atomically(Path(output), text)
    return Migration(text, ordered, notes, origin)


def _processes(found: Found, devices: int | None) -> int:
    """How many processes there were: as said here, by the launcher, or in accelerate's file."""
    arguments = found.arguments
    given, file = arguments.take("num_processes"), arguments.take("accelerate_config")
    if file is not None:
        if given is None and Path(str(file)).is_file():
            given = read_file(Path(str(file))).values.get("num_processes")
        what, fix = "how processes were launched", f"accelerate launch --config_file {file}"
        if given is None and devices is None:
            what += "; their number cannot be read, and 1 is assumed"
            fix = "--devices N"
        found.note("no equal", f"accelerate_config={file}", what, fix)
    return devices or whole_of(found, "num_processes", 1 if given is None else given)


def _say(found: Found, method: str | None, devices: int) -> str:
    """Run the dialect that the arguments are written in; what it is called."""
    arguments = found.arguments
    if MARKS & set(arguments.values):
        if method not in {None, arguments.values.get("stage")}:
            raise ConfigError(
                f"is {method}, and the file says stage: {arguments.values.get('stage')}",
                where="--method",
                fix="leave it out",
            )
        from_factory(found, devices)
        return "LLaMA-Factory"
    chosen = method or arguments.method or _told_by(arguments.values)
    if chosen is None:
        chosen = "dpo"
        found.note("default", "method=dpo", "nothing tells the method", "--method kto, cpo or orpo")
    if chosen not in METHODS:
        raise ConfigError(
            f"there is no method {chosen!r}", where="--method", fix=f"it is {', '.join(METHODS)}"
        )
    from_trl(found, chosen, devices)
    return f"TRL's {chosen.upper()}Trainer"


def _told_by(values: Mapping[str, Any]) -> str | None:
    """The method whose own arguments, or whose own loss, are given."""
    loss = values.get("loss_type")
    losses = set(map(str, loss)) if isinstance(loss, list) else {str(loss)}
    for told, marks in ((set(values), OF_METHOD), (losses, OF_LOSS)):
        found = next((name for name, some in marks.items() if some & told), None)
        if found is not None:
            return found
    return None


def _refuse_unknown(found: Found) -> None:
    """What nobody knows is named like what has no equal."""
    for name, value in list(found.arguments.values.items()):
        found.arguments.take(name)
        found.note(
            "no equal",
            f"{name}={value}",
            "an argument that is not known here",
            "look up what it did",
        )


def _text(keys: Mapping[str, Any], notes: tuple[Note, ...], origin: str, source: str) -> str:
    lines = [f"# From {origin} ({source}). What changes: docs/migration.md"]
    for kind, meaning in _MEANINGS.items():
        some = [note for note in notes if note.kind == kind]
        lines += ["#", f"# {meaning}:"] * bool(some)
        for note in some:
            words = f"{note.argument}: {note.what}" + (f" -> {note.fix}" if note.fix else "")
            lines += textwrap.wrap(
                " ".join(words.split()), 96, initial_indent="#   ", subsequent_indent="#     "
            )
    body = yaml.safe_dump(dict(keys), sort_keys=False, allow_unicode=True, width=96)
    return "\n".join(lines) + "\n" + body
